"""Below which version of each secret a replica is not believed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from secretsd.model import Floor, SecretRef, SecretVersion, Showing


def floors(versions: Sequence[SecretVersion], history: Sequence[Showing]) -> dict[SecretRef, Floor]:
    """For each secret that is asked for by its stage.

    `versions` are those that the source has confirmed last, none after a reboot; `history` is the bundle's,
    oldest first, which a reboot leaves.
    """
    shown = [version for showing in history for version in showing.versions]
    last = {version.ref: version for version in (*shown, *versions) if version.ref.version is None}
    return {
        ref: Floor(each.version_id, each.created_at, _superseded(each, history)) for ref, each in last.items()
    }


def is_below(floor: Floor, version_id: str, created_at: float | None) -> bool:
    """Whether a version that a replica shows is older than the floor, or cannot be shown not to be."""
    if version_id == floor.version_id:
        return False
    if version_id in floor.superseded or created_at is None or floor.created_at is None:
        return True
    return created_at <= floor.created_at


def highest(all_floors: Iterable[dict[SecretRef, Floor]]) -> dict[SecretRef, Floor]:
    """The floors of several bundles together."""
    found: dict[SecretRef, Floor] = {}
    for each in all_floors:
        for ref, floor in each.items():
            if ref not in found or (floor.created_at or 0.0) > (found[ref].created_at or 0.0):
                found[ref] = floor
    return found


def _superseded(last: SecretVersion, history: Sequence[Showing]) -> frozenset[str]:
    """A replica may date its copies anew: what was shown before is told by its id, too.

    So is a newer version that the source itself has taken back, by moving its label: it came from the source,
    and after it the source gave `last`. One that an operator of this host has rolled back from is not.
    """
    shown = [version for showing in history for version in showing.versions if version.ref == last.ref]
    given = [
        version.version_id
        for showing in history
        if showing.copy_of is None
        for version in showing.versions
        if version.ref == last.ref
    ]
    before = given[: _last_place(given, last.version_id)]
    older = (version.version_id for version in shown if _is_not_newer(version, last))
    return frozenset({*before, *older} - {last.version_id})


def _last_place(ids: Sequence[str], version_id: str) -> int:
    """Where it stands for the last time; 0 where it does not."""
    return max((place for place, each in enumerate(ids) if each == version_id), default=0)


def _is_not_newer(version: SecretVersion, last: SecretVersion) -> bool:
    return version.created_at is None or last.created_at is None or version.created_at <= last.created_at
