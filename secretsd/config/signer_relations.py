"""Rules between the keys of `[signer]`, and between its paths and those of the refresher. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.config.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secretsd.config.models import Config
    from secretsd.config.positions import KeyPath
    from secretsd.config.signer import Signer

_KEYS = ("signer", "keys")


def signer_related(config: Config) -> Iterator[Problem]:
    """What does not fit together in a `[signer]` of which every table is good by itself."""
    if config.signer is not None:
        yield from _wrapping(config.signer)
        yield from _same_object(config.signer)
        yield from _sockets(config, config.signer)


def _wrapping(signer: Signer) -> Iterator[Problem]:
    kinds = {name: key.type for name, key in signer.keys.items()}
    wrapping = [name for name, kind in kinds.items() if kind == "aes256-wrap"]
    for name, key in signer.keys.items():
        place = (*_KEYS, name, "wrapped_by")
        if key.wrapped_by is None:
            continue
        if key.wrapped_by not in kinds:
            hint = did_you_mean(key.wrapped_by, wrapping) or "; add a key of type aes256-wrap"
            yield Problem(place, f"'wrapped_by' names no key of [signer.keys]{hint}")
        elif key.wrapped_by not in wrapping:
            yield Problem(
                place,
                "'wrapped_by' must name a key of type aes256-wrap, not the one",
                (*_KEYS, key.wrapped_by),
            )


def _same_object(signer: Signer) -> Iterator[Problem]:
    """Two names of one object would be two policies for one key, of which the wider one counts."""
    seen: dict[tuple[str, str], KeyPath] = {}
    for name, key in signer.keys.items():
        what = ("id", key.id) if key.id is not None else ("label", key.label or name)
        explicit = key.id is not None or key.label is not None
        place = (*_KEYS, name, what[0]) if explicit else (*_KEYS, name)
        if what in seen:
            yield Problem(place, f"key {name!r} has the same {what[0]} as the one", seen[what])
        seen.setdefault(what, place)


def _sockets(config: Config, signer: Signer) -> Iterator[Problem]:
    if signer.socket == signer.seqpacket_socket:
        yield Problem(("signer", "seqpacket_socket"), "'seqpacket_socket' and 'socket' must differ")
    if signer.metrics_socket in (signer.socket, signer.seqpacket_socket):
        yield Problem(("signer", "metrics_socket"), "'metrics_socket' is another socket of [signer] already")
    taken = {config.daemon.control_socket, config.daemon.notify_socket, config.metrics_socket}
    for key in ("socket", "seqpacket_socket", "metrics_socket"):
        if getattr(signer, key) in taken:
            yield Problem(("signer", key), f"{key!r} is a socket of the refresher already")
