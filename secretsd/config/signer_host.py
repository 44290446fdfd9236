"""What `[signer]` names and this host lacks. Cautions: the refresher and other keys work all the same."""

from __future__ import annotations

import grp
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secretsd.config.models import Config
    from secretsd.config.signer import Allowed, Signer


def signer_cautions(config: Config) -> Iterator[str]:
    """A sentence for each, with its way out. Blocks while users are looked up."""
    signer = config.signer
    if signer is None:
        return
    if not signer.module.is_file():
        yield f"signer.module: {signer.module} is no file of this host: install the token's library"
    for name, entry in _entries(signer):
        if entry.user is not None and not _is_user(entry.user):
            yield f"{name}: {entry.user} is no user of this host: the entry matches nobody"
        if entry.group is not None and not _is_group(entry.group):
            yield f"{name}: {entry.group} is no group of this host: the entry matches nobody"


def _entries(signer: Signer) -> Iterator[tuple[str, Allowed]]:
    for name, key in signer.keys.items():
        for entry in key.allow:
            yield f"signer.keys.{name}.allow", entry
        for entry in key.approvers:
            yield f"signer.keys.{name}.approvers", entry


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
