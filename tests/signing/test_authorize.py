from __future__ import annotations

import itertools
from typing import Any

import pytest

from secretsd.config.signer import Allowed, SigningKey
from secretsd.signing.authorize import Ids, Policy
from secretsd.signing.errors import SigningError
from secretsd.signing.model import Operation, Request
from tests.signing.peers import ADMIN_GID, BOT, IDS, OTHER, TRADERS_GID, TREASURY, UNIT, peer, policy, signer

EVERYBODY = [peer(0), peer(0, ADMIN_GID), peer(BOT, unit=UNIT), peer(TREASURY), peer(OTHER, TRADERS_GID)]


def refused(call: Any, *arguments: object) -> str:
    with pytest.raises(SigningError) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize("who", EVERYBODY)
def test_a_key_without_entries_is_for_nobody_not_even_root(who: Any) -> None:
    assert refused(policy({"k": {}}).right, who, "k") == "no-right"
    assert policy({"k": {}}).visible(who) == ()


def test_a_refusal_says_as_whom_the_kernel_knows_the_peer() -> None:
    judge = policy({"k": {}})
    with pytest.raises(
        SigningError, match=rf"^k: uid {OTHER}, in no service of system.slice, may not use this key$"
    ):
        judge.right(peer(OTHER), "k")
    with pytest.raises(SigningError, match=rf"^k: {UNIT} \(uid {BOT}\) may not use this key$"):
        judge.right(peer(BOT, unit=UNIT), "k")


def test_an_unknown_key_is_told_without_its_name() -> None:
    with pytest.raises(SigningError) as caught:
        policy({"k": {}}).right(peer(0), "zQ7-sent")
    assert caught.value.code == "unknown-key"
    assert "zQ7-sent" not in caught.value.sentence


FIELDS = {"unit": UNIT, "user": "bot", "group": "traders"}
MATCHING = peer(BOT, TRADERS_GID, unit=UNIT)
WRONG = {
    "unit": [peer(BOT, TRADERS_GID), peer(BOT, TRADERS_GID, unit="trading-bot2.service")],
    "user": [peer(OTHER, TRADERS_GID, unit=UNIT), peer(0, TRADERS_GID, unit=UNIT)],
    "group": [peer(BOT, unit=UNIT), peer(BOT, ADMIN_GID, unit=UNIT)],
}


@pytest.mark.parametrize(
    "fields", [set(each) for size in (1, 2, 3) for each in itertools.combinations(FIELDS, size)]
)
def test_every_field_of_an_entry_must_match(fields: set[str]) -> None:
    judge = policy({"k": {"allow": [{name: FIELDS[name] for name in fields}]}})
    assert judge.right(MATCHING, "k").name == "k"
    for name in fields:
        for stranger in WRONG[name]:
            assert refused(judge.right, stranger, "k") == "no-right"


def test_one_entry_is_enough() -> None:
    judge = policy({"k": {"allow": [{"user": "treasury"}, {"unit": UNIT}]}})
    assert judge.right(peer(TREASURY), "k")
    assert judge.right(peer(OTHER, unit=UNIT), "k")
    assert refused(judge.right, peer(OTHER), "k") == "no-right"


@pytest.mark.parametrize("who", [*EVERYBODY, peer(0, 0)])
def test_an_entry_for_somebody_this_host_does_not_have_matches_nobody(who: Any) -> None:
    entries = [{"user": "gone"}, {"group": "gone"}, {"user": "gone", "unit": UNIT}]
    judge = policy({"k": {"allow": entries, "approvers": [{"group": "gone"}]}})
    assert refused(judge.right, who, "k") == "no-right"
    assert len(judge.problems) == 4
    assert all("signer.keys.k" in each and "'gone'" in each for each in judge.problems)


def test_an_empty_entry_matches_nobody() -> None:
    # The configuration refuses it; should it come here all the same, it must not open the key to all.
    config = signer({"k": {"allow": [{"user": "bot"}]}})
    config.keys["k"].__dict__["allow"] = (Allowed.model_construct(unit=None, user=None, group=None),)
    assert refused(Policy(config, IDS).right, peer(0), "k") == "no-right"


def test_only_root_the_group_and_the_service_s_own_user_administer() -> None:
    judge = Policy(signer({}), IDS, daemon_uid=BOT)
    assert [judge.is_admin(who) for who in (peer(0), peer(OTHER, ADMIN_GID), peer(BOT))] == [True] * 3
    assert not judge.is_admin(peer(TREASURY, TRADERS_GID))
    assert not Policy(signer({}), IDS).is_admin(peer(BOT))


def test_a_host_without_the_group_has_no_admins_but_root() -> None:
    judge = Policy(signer({}), Ids({}, {}))
    assert judge.is_admin(peer(0))
    assert not judge.is_admin(peer(OTHER, ADMIN_GID))


def test_approvers_are_admins_and_who_is_listed() -> None:
    judge = policy({"k": {"approvers": [{"user": "treasury"}], "allow": [{"user": "bot"}]}})
    assert judge.may_approve(peer(TREASURY), "k")
    assert judge.may_approve(peer(OTHER, ADMIN_GID), "k")
    assert not judge.may_approve(peer(BOT), "k"), "to use a key is not to approve it"


def check(key: dict[str, Any], request: Request, needs: set[str]) -> None:
    right = policy({"k": {"allow": [{"user": "bot"}], **key}}).right(peer(BOT), "k")
    right.check(request, frozenset(needs))


@pytest.mark.parametrize("operation", [each for each in Operation if each is not Operation.SIGN])
def test_only_listed_operations(operation: Operation) -> None:
    check({}, Request(Operation.SIGN, "k", b"m"), {"sha2-256"})
    assert refused(check, {}, Request(operation, "k", b"m"), set()) == "operation-not-allowed"


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ({}, [{"sha2-256"}, set()], [{"sha2-384"}, {"sha2-256", "prehashed"}]),
        ({"type": "ecdsa-p384"}, [{"sha2-384"}], [{"sha2-256"}]),
        ({"mechanisms": ["prehashed"]}, [{"sha2-256", "prehashed"}], [{"sha2-512", "prehashed"}]),
        ({"mechanisms": ["sha2-512"]}, [{"sha2-512"}], [{"sha2-256"}, {"sha2-512", "prehashed"}]),
        ({"type": "rsa-2048"}, [{"sha2-256", "pss"}, {"sha2-256", "pkcs1v15"}], [{"sha2-512", "pss"}]),
        ({"type": "rsa-2048", "mechanisms": ["pss"]}, [{"sha2-256", "pss"}], [{"sha2-256", "pkcs1v15"}]),
    ],
)
def test_only_listed_mechanisms(key: dict[str, Any], good: list[set[str]], bad: list[set[str]]) -> None:
    request = Request(Operation.SIGN, "k", b"m")
    for needs in good:
        check(key, request, needs)
    for needs in bad:
        assert refused(check, key, request, needs) == "mechanism-not-allowed"


def test_a_message_over_the_limit_of_its_key() -> None:
    key = {"max_message_bytes": 8}
    check(key, Request(Operation.SIGN, "k", bytes(8)), set())
    assert refused(check, key, Request(Operation.SIGN, "k", bytes(9)), set()) == "message-too-large"


def test_what_could_be_encrypted_can_be_decrypted() -> None:
    key = {"type": "aes256-gcm96", "operations": ["encrypt", "decrypt"], "max_message_bytes": 8}
    check(key, Request(Operation.ENCRYPT, "k", bytes(8)), set())
    check(key, Request(Operation.DECRYPT, "k", bytes(12 + 8 + 16)), set())
    assert refused(check, key, Request(Operation.DECRYPT, "k", bytes(37)), set()) == "message-too-large"


def test_connections_of_one_unit_share_a_bucket_and_those_of_another_do_not() -> None:
    judge = policy({name: {"allow": [{"user": "bot"}], "rate_limit": "1/s"} for name in ("a", "b")})
    one = judge.right(peer(BOT, unit=UNIT), "a").bucket
    assert one is not None
    assert judge.right(peer(BOT, unit=UNIT, pid=43), "a").bucket is one
    others = [judge.right(peer(BOT), "a").bucket, judge.right(peer(BOT, unit=UNIT), "b").bucket]
    assert one not in others


def test_a_key_without_a_limit_has_no_bucket() -> None:
    assert policy({"k": {"allow": [{"user": "bot"}]}}).right(peer(BOT), "k").bucket is None


def test_the_key_of_a_right_is_the_configured_one() -> None:
    right = policy({"k": {"allow": [{"user": "bot"}], "audit": "batched"}}).right(peer(BOT), "k")
    assert isinstance(right.key, SigningKey)
    assert not right.audit_is_strict
