"""Why a sealed copy was not made or is not used, each with a word of its own and the way out. Pure.

Whoever can set this host's clock can make a copy look young, so its age is no defence against them. It is
the operator's limit, kept where it can be: a clock that is behind the copy's own times cannot keep it.
"""

from __future__ import annotations

from secretsd.errors import Failure, FailureClass
from secretsd.model import Hold, SealedHeader, SecretRef, Showing
from secretsd.moments import in_words
from secretsd.timespan import spoken

# Clocks of hosts are set back a little now and then.
CLOCK_SLACK_S = 300.0
SETUP = "secretsctl seal-setup"

_PUBLISHED_LATER = "it is published when its source answers"


def judged(
    header: SealedHeader, *, name: str, generation: int, host: str, now: float, max_age_s: float
) -> Failure | None:
    """Why an authentic copy that lies where that of a bundle's generation on `host` belongs may not be used.

    None where it may. `now` is the wall clock's.
    """
    if refusal := misplaced(header, name=name, generation=generation, host=host):
        return refusal
    if now < max(header.sealed_at, header.confirmed_at) - CLOCK_SLACK_S:
        return clock_behind(name, header, now)
    if now - header.confirmed_at > max_age_s:
        return too_old(name, header, max_age_s)
    return None


def altered(name: str, path: str) -> Failure:
    what = f"the sealed copy of {name} is not what was sealed: it was altered, or the disk has damaged it"
    return _failure("sealed-altered", what, f"{_PUBLISHED_LATER}; find out what writes to {path}")


def misplaced(header: SealedHeader, *, name: str, generation: int, host: str) -> Failure | None:
    """Why an authentic copy does not belong where it lies; None where it does."""
    if header.host != host:
        origin = "another host,"
    elif header.bundle != name:
        origin = f"bundle {header.bundle},"
    elif header.generation != generation:
        origin = f"generation {header.generation}, not {generation},"
    else:
        return None
    what = f"the sealed copy of {name} was made for {origin} and was put here by somebody"
    return _failure("sealed-moved", what, f"{_PUBLISHED_LATER}; find out who copies files on this host")


def too_old(name: str, header: SealedHeader, max_age_s: float) -> Failure:
    what = (
        f"the sealed copy of {name} was confirmed last on {in_words(header.confirmed_at)},"
        f" longer ago than its max_age ({spoken(max_age_s)})"
    )
    way_out = f"to use it all the same raise sealed_copy.max_age, then: secretsctl reload {name}"
    return _failure("sealed-too-old", what, f"{_PUBLISHED_LATER}; {way_out}")


def clock_behind(name: str, header: SealedHeader, now: float) -> Failure:
    latest = in_words(max(header.sealed_at, header.confirmed_at))
    what = (
        f"this host's clock says {in_words(now)}, and the sealed copy of {name} was made on"
        f" {latest}: how old it is cannot be told"
    )
    return _failure("sealed-clock", what, f"set the clock (timedatectl), then: secretsctl reload {name}")


def outdated(name: str, header: SealedHeader | None, last: Showing) -> Failure:
    made = f" of {in_words(header.sealed_at)}" if header is not None else ""
    what = (
        f"the sealed copy of {name}{made} is older than what was published last,"
        f" on {in_words(last.published_at)}, which could not be sealed"
    )
    return _failure("sealed-outdated", what, f"{_PUBLISHED_LATER}; keep room on the disk of state_dir")


def not_held(name: str, hold: Hold) -> Failure:
    versions = ", ".join(f"{each.ref.id} (version {each.version_id})" for each in hold.pinned)
    what = f"{name} is held at {versions}, of which there is no sealed copy"
    return _failure("sealed-not-held", what, f"{_PUBLISHED_LATER}, or: secretsctl resume {name}")


def key_missing(place: str, ending: str) -> Failure:
    what = f"the key of sealed copies, {place}, {ending}"
    advice = f"make it, once, as root: {SETUP}; then: systemctl restart secretsd"
    return _failure("sealed-key-missing", what, advice)


def key_wrong(name: str) -> Failure:
    what = f"the sealed copy of {name} was sealed with another key than this host has now"
    return _failure("sealed-key-wrong", what, f"{_PUBLISHED_LATER}, and sealed anew; was {SETUP} run again?")


def rolled_back(name: str) -> Failure:
    what = (
        f"the sealed copy of {name} is older than this host's counter says, as after restoring an older disk,"
        " or was made before there was a counter"
    )
    return _failure("sealed-rolled-back", what, _PUBLISHED_LATER)


def counter_missing(place: str, why: str) -> Failure:
    what = f"the counter of sealed copies, {place}, does not answer: {why}"
    return _failure(
        "sealed-no-counter", what, f"make it, once, as root: {SETUP} --counter; or remove seal_counter"
    )


def config_changed(name: str, ref: SecretRef) -> Failure:
    what = f"the sealed copy of {name} was made before {ref} belonged to it"
    return _failure("sealed-config-changed", what, _PUBLISHED_LATER, FailureClass.DATA)


def unreadable(name: str, path: str, why: str) -> Failure:
    return _failure("sealed-unreadable", f"the sealed copy of {name} cannot be read: {why}", f"ls -l {path}")


def not_written(name: str, path: str, why: str) -> Failure:
    what = f"the sealed copy of {name} was not written: {why}"
    advice = f"until it is, a boot while its source is out cannot publish {name}: df -h {path}; ls -ld {path}"
    return _failure("sealed-not-written", what, advice)


def no_host(why: str) -> Failure:
    what = f"sealed copies are bound to this host, and /etc/machine-id cannot be read: {why}"
    return _failure("sealed-no-host", what, "systemd-machine-id-setup")


def _failure(code: str, message: str, advice: str, failure_class: FailureClass = FailureClass.IO) -> Failure:
    return Failure(code, failure_class, message, advice)
