"""The uids and gids of the users and groups that `[signer]` names, as this host knows them."""

from __future__ import annotations

import grp
import pwd
from typing import TYPE_CHECKING

from secretsd.signing.authorize import ADMIN_GROUP, Ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from secretsd.config.signer import Signer


def resolve(signer: Signer) -> Ids:
    """Looks up everybody once; the unknown are left out. Blocks as long as the host's user database does."""
    entries = [entry for key in signer.keys.values() for entry in (*key.allow, *key.approvers)]
    users = {entry.user for entry in entries if entry.user is not None}
    groups = {entry.group for entry in entries if entry.group is not None} | {ADMIN_GROUP}
    return Ids(
        uids=_found(users, lambda name: pwd.getpwnam(name).pw_uid),
        gids=_found(groups, lambda name: grp.getgrnam(name).gr_gid),
    )


def _found(names: Iterable[str], look_up: Callable[[str], int]) -> dict[str, int]:
    found = {}
    for name in sorted(names):
        try:
            found[name] = look_up(name)
        except KeyError:
            continue
    return found
