"""Which sealed copy of a bundle may be published, and when the next is to be made. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from secretsd.errors import Failure
from secretsd.model import Hold, PublishRecord, SealedHeader, SecretRef, SecretVersion, Showing
from secretsd.refresh.hold import holds_all, made_as
from secretsd.refresh.sealed import refusals

KEY_BYTES = 32  # of the key of this host's sealed copies
# By generation; None for a file whose header cannot be read, which a worker refuses by name.
Copies = Mapping[int, SealedHeader | None]

# A copy is written anew when the last confirmation that it knows is this part of max_age ago, or this long.
_RENEWED_AT = 0.1
_RENEWED_AFTER_S = 3600.0


def choose(name: str, copies: Copies, hold: Hold | None, history: Sequence[Showing]) -> int | Failure | None:
    """The generation whose copy is to be opened, why there is none, or None where nothing was ever sealed.

    It is the newest one and never another: to go on to an older copy because the newest was altered would
    be to let whoever altered it choose. An operator's word comes first: then it is the one that is held.
    """
    if not copies:
        return None
    if hold is not None:
        held = [each for each in copies if _is_held(copies[each], hold)]
        return max(held) if held else refusals.not_held(name, hold)
    newest = max(copies)
    last = history[-1] if history else None
    # The same versions in another generation are another format or owner.
    is_older = last is not None and newest < made_as(last.generation, history)
    if last is not None and is_older and not is_current(copies[newest], last.versions):
        return refusals.outdated(name, copies[newest], last)
    return newest


def _is_held(header: SealedHeader | None, hold: Hold) -> bool:
    return header is not None and holds_all(hold, header.versions)


def matches(
    wanted: Sequence[SecretRef], sealed: Sequence[SecretVersion]
) -> dict[SecretRef, SecretVersion] | SecretRef:
    """For each secret that a bundle wants today what was sealed of it; or the first that is lacking."""
    found = {}
    for ref in wanted:
        for version in sealed:
            same = (version.ref.source, version.ref.id, version.ref.stage) == (ref.source, ref.id, ref.stage)
            if same and ref.version in (None, version.version_id):
                found[ref] = version
                break
        else:
            return ref
    return found


def is_current(header: SealedHeader | None, versions: Sequence[SecretVersion]) -> bool:
    """Whether the copy holds these very versions."""
    return header is not None and {(v.ref, v.version_id) for v in header.versions} == {
        (v.ref, v.version_id) for v in versions
    }


def is_to_be_renewed(header: SealedHeader, *, max_age_s: float, now: float) -> bool:
    """Whether a copy that its source has just confirmed should be told so; `now` is the wall clock's."""
    age_s = now - header.confirmed_at
    # A copy from the future was made by a clock that was wrong, and would be refused.
    return age_s > min(_RENEWED_AFTER_S, _RENEWED_AT * max_age_s) or age_s < -refusals.CLOCK_SLACK_S


def kept(records: Mapping[int, PublishRecord], shown: PublishRecord | None) -> frozenset[int]:
    """The copies that stay: of what is shown, and of what a rollback could show."""
    every = [*records.values(), *([shown] if shown is not None else [])]
    return frozenset(record.made_as for record in every)
