from __future__ import annotations

import dataclasses

import pytest

from secretsd.signing.approvals import MAX_PENDING_PER_USER, Approvals
from secretsd.signing.errors import SigningError

ASKER, APPROVER, OTHER = 1001, 1002, 1003
BLOB = b"wrapped"


def asked(*, now: float = 0.0) -> Approvals:
    approvals = Approvals(600.0)
    approvals.ask("r1", "cold", BLOB, ASKER, now)
    return approvals


def code(call: object, *arguments: object) -> str:
    with pytest.raises(SigningError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_approved_once_used_once() -> None:
    approvals = asked()
    assert code(approvals.use, "r1", "cold", BLOB, ASKER, 1.0) == "approval-missing"
    approvals.approve("r1", APPROVER, 2.0)
    assert approvals.use("r1", "cold", BLOB, ASKER, 3.0).approver_uid == APPROVER
    assert code(approvals.use, "r1", "cold", BLOB, ASKER, 4.0) == "approval-unknown"
    assert code(approvals.approve, "r1", APPROVER, 4.0) == "approval-unknown"


@pytest.mark.parametrize("uid", [ASKER, 0])
def test_whoever_asked_cannot_approve_not_even_root(uid: int) -> None:
    approvals = Approvals(600.0)
    approvals.ask("r1", "cold", BLOB, uid, 0.0)
    assert code(approvals.approve, "r1", uid, 1.0) == "approval-by-requester"
    assert code(approvals.use, "r1", "cold", BLOB, uid, 2.0) == "approval-missing"


@pytest.mark.parametrize(
    ("key", "blob", "uid"),
    [("hot", BLOB, ASKER), ("cold", b"wrappee", ASKER), ("cold", b"", ASKER), ("cold", BLOB, OTHER)],
)
def test_another_key_blob_or_user_neither_gets_in_nor_uses_it_up(key: str, blob: bytes, uid: int) -> None:
    approvals = asked()
    approvals.approve("r1", APPROVER, 1.0)
    assert code(approvals.use, "r1", key, blob, uid, 2.0) == "approval-mismatch"
    assert approvals.use("r1", "cold", BLOB, ASKER, 3.0)


def test_it_expires_approved_or_not() -> None:
    approvals = asked()
    approvals.approve("r1", APPROVER, 599.9)
    assert code(approvals.use, "r1", "cold", BLOB, ASKER, 600.0) == "approval-expired"
    assert code(approvals.approve, "r1", APPROVER, 600.0) == "approval-expired"
    assert approvals.waiting(600.0) == ()
    assert code(approvals.find, "r1", 1200.0) == "approval-unknown"


def test_an_approval_does_not_prolong_it() -> None:
    approvals = asked()
    before = approvals.find("r1", 0.0).expires_at_s
    assert approvals.approve("r1", APPROVER, 300.0).expires_at_s == before


def test_the_first_approver_stays_on_record() -> None:
    approvals = asked()
    approvals.approve("r1", APPROVER, 1.0)
    assert approvals.approve("r1", OTHER, 2.0).approver_uid == APPROVER


def test_one_user_cannot_fill_the_memory_or_keep_others_out() -> None:
    approvals = Approvals(600.0)
    for number in range(MAX_PENDING_PER_USER):
        approvals.ask(f"r{number}", "cold", BLOB, ASKER, 0.0)
    assert code(approvals.ask, "one-more", "cold", BLOB, ASKER, 599.0) == "too-many-requests"
    approvals.ask("other", "cold", BLOB, OTHER, 0.0)
    approvals.ask("later", "cold", BLOB, ASKER, 600.0)
    assert [each.id for each in approvals.waiting(600.0)] == ["later"]


def test_what_waits_does_not_hold_the_blob() -> None:
    held = [value for value in dataclasses.astuple(asked().waiting(0.0)[0]) if isinstance(value, bytes)]
    assert [len(value) for value in held] == [32]
    assert BLOB not in held
