from __future__ import annotations

import pytest

from secretsd.control.access import OWNER_COMMANDS, Admins, is_allowed
from secretsd.signing.model import Peer

DAEMON, OWNER, OTHER, GROUP = 999, 1001, 1002, 77
ADMINS = Admins(DAEMON, GROUP)
COMMANDS = ["wait", "status", "ack", "reload", "plan", "no-such-command", ""]


def peer(uid: int, *groups: int) -> Peer:
    return Peer(1, uid, frozenset(groups), None, 0)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("who", [peer(0), peer(DAEMON), peer(OTHER, GROUP), peer(OTHER, 5, GROUP, 6)])
@pytest.mark.parametrize("owner_uid", [OWNER, None])
def test_root_the_daemon_and_the_admin_group_may_do_everything(
    command: str, who: Peer, owner_uid: int | None
) -> None:
    assert is_allowed(command, peer=who, admins=ADMINS, owner_uid=owner_uid)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_owner_may_only_look_wait_and_acknowledge(command: str) -> None:
    allowed = is_allowed(command, peer=peer(OWNER, OWNER), admins=ADMINS, owner_uid=OWNER)
    assert allowed == (command in {"wait", "status", "ack"})


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("who", [peer(OTHER), peer(65534), peer(OTHER, OWNER), peer(OTHER, 0, DAEMON)])
@pytest.mark.parametrize("owner_uid", [OWNER, None])
def test_everyone_else_may_do_nothing_and_no_gid_counts_as_a_uid(
    command: str, who: Peer, owner_uid: int | None
) -> None:
    assert not is_allowed(command, peer=who, admins=ADMINS, owner_uid=owner_uid)


def test_without_the_admin_group_no_group_is_admin() -> None:
    for group in (0, GROUP, -1):
        assert not Admins(DAEMON, None).include(peer(OTHER, group))


def test_an_owner_of_a_bundle_that_nobody_knows_may_do_nothing() -> None:
    for command in OWNER_COMMANDS:
        assert not is_allowed(command, peer=peer(OWNER), admins=ADMINS, owner_uid=None)
