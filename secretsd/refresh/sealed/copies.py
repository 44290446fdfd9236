"""What a worker does with sealed copies: makes one, renews it, opens it. It alone ever has the key."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from secretsd.config.models import Bundle
from secretsd.errors import FailureError
from secretsd.model import FetchedSecret, SealedHeader, SecretRef, SecretVersion, Unsealed
from secretsd.refresh.messages import SealPlace
from secretsd.refresh.sealed import refusals, store
from secretsd.refresh.sealed.box import AlteredError, WrongKeyError, open_sealed, seal
from secretsd.refresh.sealed.choice import matches
from secretsd.refresh.sealed.key import host_id, read_key


@dataclass(frozen=True, slots=True)
class Opened:
    """What a copy held, as if its sources had just given it."""

    fetched: dict[SecretRef, FetchedSecret]
    generation: int
    unsealed: Unsealed


def make(
    place: SealPlace, name: str, generation: int, fetched: Collection[FetchedSecret], *, now: float
) -> SealedHeader:
    """Seals what the bundle's sources have just given as the copy of `generation`. Blocks for the disk.

    `now` is the wall clock's. Raises: FailureError.
    """
    key = read_key(place.key)
    header = SealedHeader(
        host=host_id(),
        bundle=name,
        generation=generation,
        versions=tuple(SecretVersion(each.ref, each.version_id, each.created_at) for each in fetched),
        sealed_at=now,
        confirmed_at=now,
        key_id=key.key_id,
    )
    _write(place, header, seal(key, header, fetched))
    return header


def renew(place: SealPlace, name: str, generation: int, *, now: float) -> SealedHeader:
    """Seals a copy anew that an operator holds, whatever its source says. Raises: FailureError."""
    header, fetched = _open(place, name, generation)
    refusal = refusals.misplaced(header, name=name, generation=generation, host=host_id())
    if refusal is not None:
        raise FailureError(refusal)
    header = replace(header, sealed_at=now, confirmed_at=now)
    _write(place, header, seal(read_key(place.key), header, fetched))
    return header


def take(place: SealPlace, name: str, bundle: Bundle, generation: int, *, now: float) -> Opened:
    """What the copy holds of the secrets that the bundle has today. `now` is the wall clock's.

    Raises: FailureError where the copy may not be used.
    """
    if bundle.sealed_copy is None:
        raise ValueError("a bundle without sealed copies")
    header, fetched = _open(place, name, generation)
    max_age_s = bundle.sealed_copy.max_age_s
    refusal = refusals.judged(
        header, name=name, generation=generation, host=host_id(), now=now, max_age_s=max_age_s
    )
    if refusal is not None:
        raise FailureError(refusal)
    found = matches([secret.ref for secret in bundle.secrets], header.versions)
    if isinstance(found, SecretRef):
        raise FailureError(refusals.config_changed(name, found))
    by_version = {(each.ref, each.version_id): each for each in fetched}
    return Opened(
        {ref: replace(by_version[v.ref, v.version_id], ref=ref) for ref, v in found.items()},
        header.generation,
        Unsealed(header.sealed_at, header.confirmed_at, header.confirmed_at + max_age_s),
    )


def _open(place: SealPlace, name: str, generation: int) -> tuple[SealedHeader, tuple[FetchedSecret, ...]]:
    state_dir, key = Path(place.state_dir), read_key(place.key)
    where = str(store.path_of(state_dir, name))
    try:
        return open_sealed(key, store.read(state_dir, name, generation))
    except OSError as error:
        failure = refusals.unreadable(name, where, os.strerror(error.errno or 0))
    except AlteredError:
        failure = refusals.altered(name, where)
    except WrongKeyError:
        failure = refusals.key_wrong(name)
    raise FailureError(failure)


def _write(place: SealPlace, header: SealedHeader, content: bytes) -> None:
    state_dir = Path(place.state_dir)
    try:
        store.write(state_dir, header.bundle, header.generation, content)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        failure = refusals.not_written(header.bundle, str(store.path_of(state_dir, header.bundle)), why)
        raise FailureError(failure) from None
