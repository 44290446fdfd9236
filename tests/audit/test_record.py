"""The members of a record: valid JSON, in their order, and nothing in them that nobody configured."""

from __future__ import annotations

import json

from secretsd.audit import record
from secretsd.signing.model import Peer

_PEER = Peer(pid=4242, uid=1001, gids=frozenset({1001}), unit='odd".service', start_ticks=98765)


def test_an_intent_and_its_outcome_say_who_what_and_with_which_key() -> None:
    use = record.use("sign", "hot-wallet", "sha2-256", record.actor(_PEER))
    before = json.loads("{" + record.intent(use, 7, 2, record.keyed_digest(b"fake", b"message")) + "}")
    after = json.loads("{" + record.outcome(use, 7, 2, "failed", "token-busy") + "}")
    shared = {
        "action": "sign",
        "key": "hot-wallet",
        "mechanism": "sha2-256",
        "actor": {"uid": 1001, "unit": 'odd".service', "pid": 4242, "start": 98765},
    }
    assert list(before) == [*shared, "phase", "request", "version", "digest"]
    assert before == {**shared, "phase": "intent", "request": 7, "version": 2, "digest": before["digest"]}
    assert after == {
        **shared,
        "phase": "outcome",
        "request": 7,
        "version": 2,
        "result": "failed",
        "reason": "token-busy",
    }


def test_an_event_of_the_daemon_itself() -> None:
    said = json.loads("{" + record.event("reload", details={"keys": 3}) + "}")
    assert said == {"action": "reload", "actor": "daemon", "phase": "outcome", "result": "ok", "keys": 3}


def test_a_name_that_nobody_configured_is_not_in_the_record() -> None:
    said = json.loads("{" + record.outcome(record.use("sign", None, None, record.DAEMON), 1, 0) + "}")
    assert said["key"] is None


def test_a_digest_tells_nothing_without_its_key() -> None:
    one = record.keyed_digest(b"fake-key-1", b"1")
    assert one == record.keyed_digest(b"fake-key-1", b"1")
    assert one != record.keyed_digest(b"fake-key-2", b"1")
    assert len(one) == 32
