"""The configuration's users and groups as this host's numbers."""

from __future__ import annotations

import grp
import logging
import os
import pwd
from collections.abc import Iterable

from secretsd.config.signer import Allowed, Signer
from secretsd.signing.authorize import Admins, Policy, Who
from secretsd.signing.buckets import Buckets

log = logging.getLogger(__name__)

ADMIN_GROUP = "secretsd-admin"


def policy_of(config: Signer, buckets: Buckets) -> Policy:
    """An entry that names a user or group whom this host does not know matches nobody, and is logged."""
    return Policy(
        config,
        {name: _resolved(name, key.allow) for name, key in config.keys.items()},
        {name: _resolved(name, key.approvers) for name, key in config.keys.items()},
        # In the foreground the signer is the user's own, and so are its keys.
        Admins(frozenset({0, os.geteuid()}), _gid(ADMIN_GROUP)),
        buckets,
    )


def _resolved(key: str, entries: Iterable[Allowed]) -> tuple[Who, ...]:
    found = []
    for entry in entries:
        uid = None if entry.user is None else _uid(entry.user)
        gid = None if entry.group is None else _gid(entry.group)
        if (entry.user is not None and uid is None) or (entry.group is not None and gid is None):
            log.error(
                "an entry of allow or approvers names nobody of this host",
                extra={"key": key, "user": entry.user, "group": entry.group},
            )
        else:
            found.append(Who(entry.unit, uid, gid))
    return tuple(found)


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _gid(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
