"""Every action: who may, what is on record and when, against a desk whose disk and token are fakes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from secretsd.signing.administration import Administration
from secretsd.signing.desk import Desk
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyType, KeyVersion, Peer
from secretsd.signing.trail import Trail
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.signing.peers import ADMIN_GID, BOT, OTHER, TREASURY, peer, policy, signer

KEYS: dict[str, Any] = {
    "kek": {"type": "aes256-wrap", "operations": []},
    "cold": {
        "operations": ["sign", "wrap", "unwrap"],
        "allow": [{"user": "bot"}],
        "approvers": [{"user": "treasury"}],
        "wrapped_by": "kek",
    },
    "hot": {"operations": ["sign"], "allow": [{"user": "bot"}]},
}
ROOT, ADMIN, ASKER = peer(0), peer(OTHER, ADMIN_GID), peer(BOT)
MATERIAL = MARKER.encode()


def version(key: str, number: int) -> KeyVersion:
    return KeyVersion(key, number, KeyType.P256, b"\x30\x00", is_retired=False)


class FakeLane:
    def __init__(self, done: list[str]) -> None:
        self._done = done

    def generate(self, name: str) -> KeyVersion:
        self._done.append(f"generate {name}")
        return version(name, 2)

    def import_key(self, name: str, material: bytes) -> KeyVersion:
        self._done.append(f"import {name} {len(material)}")
        return version(name, 3)

    def retire(self, name: str, number: int) -> None:
        self._done.append(f"retire {name} {number}")

    def wrap(self, name: str, number: int) -> bytes:
        self._done.append(f"wrap {name} {number}")
        return b"blob"

    def unwrap(self, name: str, blob: bytes) -> KeyVersion:
        self._done.append(f"unwrap {name}")
        return version(name, 4)


class FakeLog:
    """Keeps records, and says whether they were on the disk when something happened."""

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self.records: list[str] = []
        self.trouble: OSError | None = None

    def append(self, members: str) -> None:
        self.records.append(members)
        self._events.append("append")

    def commit(self, done: Callable[[OSError | None], None]) -> None:
        self._events.append("commit")
        done(self.trouble)


class Bench:
    """The desk's parts as the administration sees them."""

    def __init__(self, **more: object) -> None:
        self.events: list[str] = []  # records, commits, deeds and answers, in their order
        self.log = FakeLog(self.events)
        self.desk = SimpleNamespace(
            config=signer(KEYS, **more),
            policy=policy(KEYS, **more),
            trail=Trail(cast("Any", self.log), lambda: None),
            token=SimpleNamespace(
                keys={"cold": (version("cold", 1),), "hot": (version("hot", 1),)},
                problems={"kek": SigningError("key-missing", "kek is not on the token")},
                capabilities=None,
                breaker=SimpleNamespace(is_closed=True),
            ),
            dispatcher=SimpleNamespace(submit=self._submit, trouble=None, waiting=0),
            under_way=0,
            counted=lambda _, answer: answer,
            must_not_be_stopping=lambda: None,
            version=lambda name, number: version(name, number or 1),
        )
        self.administration = Administration(cast("Any", self.desk))
        self.failure: SigningError | None = None

    def _submit(self, job: Any) -> None:
        if self.failure is not None:
            raise self.failure
        job.done(job.work(FakeLane(self.events)))

    def ask(self, verb: str, who: Peer, *arguments: object) -> Any:
        """What `verb` answers to `who`: a table, or the code of a refusal."""
        answers: list[Any] = []

        def answer(outcome: Any) -> None:
            self.events.append("answer")
            answers.append(outcome)

        getattr(self.administration, verb)(who, *arguments, answer)
        (outcome,) = answers
        return outcome.code if isinstance(outcome, SigningError) else outcome

    def pending(self, blob: bytes = b"blob", who: Peer = ASKER) -> str:
        return cast("str", self.ask("unwrap", who, "cold", blob, "")["request_id"])


def test_a_stop_waits_for_a_key_that_is_being_made_and_lets_none_begin() -> None:
    """Or the token would have a key of which no outcome is on record, and nobody would hear of it."""
    bench, jobs, answers = Bench(), cast("list[Any]", []), cast("list[Any]", [])
    dispatcher = SimpleNamespace(submit=jobs.append, trouble=None)
    desk = Desk(
        bench.desk.config, bench.desk.policy, bench.desk.token, cast("Any", dispatcher), bench.desk.trail
    )
    administration = Administration(desk)
    administration.generate(ROOT, "hot", answers.append)
    desk.stop()
    assert not desk.idle.is_set()
    administration.generate(ROOT, "cold", answers.append)
    assert [each.code for each in answers] == ["stopping"]
    (job,) = jobs
    job.done(version("hot", 2))
    assert answers[1]["version"] == 2
    assert desk.idle.is_set()
    assert '"result":"ok"' in bench.log.records[-1]


ADMIN_ACTIONS: dict[str, tuple[object, ...]] = {
    "generate": ("hot",),
    "import_key": ("hot", MATERIAL),
    "retire": ("hot", 1),
    "report": (),
    "unlock": (),
}


@pytest.mark.parametrize("verb", ADMIN_ACTIONS)
def test_only_admins_change_keys_and_a_refusal_is_on_record(verb: str) -> None:
    for who in (ROOT, ADMIN):
        assert isinstance(Bench().ask(verb, who, *ADMIN_ACTIONS[verb]), dict)
    bench = Bench()
    for who in (ASKER, peer(TREASURY), peer(OTHER)):
        assert bench.ask(verb, who, *ADMIN_ACTIONS[verb]) == "not-an-admin"
    assert bench.events == ["append", "answer"] * 3, "nothing was done"
    assert all('"result":"refused","reason":"not-an-admin"' in each for each in bench.log.records)


@pytest.mark.parametrize("verb", ["generate", "import_key", "retire"])
def test_the_intent_is_on_disk_before_the_deed_and_the_outcome_before_the_answer(verb: str) -> None:
    bench = Bench()
    bench.ask(verb, ROOT, *ADMIN_ACTIONS[verb])
    deed = bench.events.pop(2)
    assert deed.startswith(verb.removesuffix("_key"))
    assert bench.events == ["append", "commit", "append", "commit", "answer"]
    assert '"phase":"intent"' in bench.log.records[0]
    assert '"phase":"outcome"' in bench.log.records[1]


def test_what_cannot_be_recorded_is_not_done() -> None:
    bench = Bench()
    bench.log.trouble = OSError(28, "full")
    for verb in ("generate", "import_key", "retire", "unlock"):
        assert bench.ask(verb, ROOT, *ADMIN_ACTIONS[verb]) == "audit-unavailable"
    assert bench.ask("unwrap", ASKER, "cold", b"blob", "") == "audit-unavailable"
    assert set(bench.events) == {"append", "answer"}


def test_material_is_neither_on_record_nor_in_an_answer() -> None:
    bench = Bench()
    told = bench.ask("import_key", ROOT, "hot", MATERIAL)
    assert told == {"name": "hot", "version": 3, "public_key": told["public_key"]}
    text = "".join(bench.log.records) + repr(told) + "".join(bench.events)
    assert not shows(text)
    assert f"import hot {len(MATERIAL)}" in text, "the search looks at what was done"


def test_the_token_s_refusal_is_the_outcome() -> None:
    bench = Bench()
    bench.failure = SigningError("queue-full", "too many")
    assert bench.ask("generate", ROOT, "hot") == "queue-full"
    assert '"reason":"queue-full"' in bench.log.records[-1]


def test_an_unknown_key_is_refused_and_its_name_is_not_on_record() -> None:
    bench = Bench()
    assert bench.ask("generate", ROOT, "zQ7-sent") == "unknown-key"
    assert bench.ask("wrap", ROOT, "zQ7-sent", 0) == "unknown-key"
    assert "zQ7" not in "".join(bench.log.records)


def test_to_wrap_needs_a_right_and_the_operation_and_root_has_neither() -> None:
    bench = Bench()
    assert bench.ask("wrap", ASKER, "cold", 0) == {"blob": base64.b64encode(b"blob").decode(), "version": 1}
    assert bench.ask("wrap", ROOT, "cold", 0) == "no-right"
    assert bench.ask("wrap", ADMIN, "cold", 0) == "no-right"
    assert bench.ask("wrap", ASKER, "hot", 0) == "operation-not-allowed"
    assert [each for each in bench.events if each.startswith("wrap")] == ["wrap cold 1"]


def test_a_key_enters_only_after_another_user_s_approval_and_once() -> None:
    bench = Bench()
    request = bench.pending()
    assert bench.ask("unwrap", ASKER, "cold", b"blob", request) == "approval-missing"
    assert bench.ask("approve", ASKER, request) == "no-right"
    assert bench.ask("approve", peer(OTHER), request) == "no-right"
    assert bench.ask("approve", peer(TREASURY), request) == {"request_id": request, "key": "cold"}
    assert bench.ask("unwrap", ASKER, "cold", b"other", request) == "approval-mismatch"
    assert bench.ask("unwrap", ASKER, "cold", b"blob", request)["version"] == 4
    assert bench.ask("unwrap", ASKER, "cold", b"blob", request) == "approval-unknown"
    assert bench.events.count("unwrap cold") == 1


def test_an_admin_who_asked_needs_another_one() -> None:
    keys = {**KEYS, "cold": {**KEYS["cold"], "allow": [{"user": "root"}]}}
    bench = Bench()
    bench.desk.policy = policy(keys)
    bench.desk.config = signer(keys)
    request = bench.pending(who=ROOT)
    assert bench.ask("approve", ROOT, request) == "approval-by-requester"
    assert bench.ask("approve", peer(0, ADMIN_GID, pid=99), request) == "approval-by-requester"
    assert bench.ask("approve", ADMIN, request)["key"] == "cold"


def test_a_reload_ends_what_waits() -> None:
    bench = Bench()
    request = bench.pending()
    bench.ask("approve", peer(TREASURY), request)
    bench.desk.policy = policy(KEYS)
    assert bench.ask("unwrap", ASKER, "cold", b"blob", request) == "approval-unknown"


def test_an_unwrap_that_fails_used_its_approval_up() -> None:
    bench = Bench()
    request = bench.pending()
    bench.ask("approve", peer(TREASURY), request)
    bench.failure = SigningError("token-unavailable", "gone")
    assert bench.ask("unwrap", ASKER, "cold", b"blob", request) == "token-unavailable"
    bench.failure = None
    assert bench.ask("unwrap", ASKER, "cold", b"blob", request) == "approval-unknown"


def test_who_sees_what_waits() -> None:
    bench = Bench()
    request = bench.pending()
    for who in (ASKER, peer(TREASURY), ROOT, ADMIN):
        (seen,) = bench.ask("approvals", who)["approvals"]
        assert (seen["request_id"], seen["requester_uid"], seen["key"]) == (request, BOT, "cold")
    assert bench.ask("approvals", peer(OTHER)) == {"approvals": []}


def test_a_peer_sees_its_keys_and_an_admin_all_with_their_problems() -> None:
    bench = Bench()
    seen = bench.ask("keys", ASKER)["keys"]
    assert [each["name"] for each in seen] == ["cold", "hot"]
    assert seen[1]["mechanisms"] == ["sha2-256"]
    all_of_them = bench.ask("keys", ROOT)["keys"]
    assert [each["problem"] and each["problem"]["code"] for each in all_of_them] == [
        "key-missing",
        None,
        None,
    ]
    assert bench.ask("keys", peer(OTHER)) == {"keys": []}


def test_the_rate_of_a_key_holds_for_wrapping_too() -> None:
    keys = {**KEYS, "cold": {**KEYS["cold"], "rate_limit": "1/h"}}
    bench = Bench()
    bench.desk.policy = policy(keys)
    assert "blob" in bench.ask("wrap", ASKER, "cold", 0)
    assert bench.ask("wrap", ASKER, "cold", 0) == "rate-limited"


@pytest.mark.parametrize("after", [None, SigningError("pin-locked", "refused again")])
def test_unlock_tries_once_and_tells_what_came_of_it(after: SigningError | None) -> None:
    bench = Bench()
    locked = SigningError("pin-locked", "refused")
    bench.desk.dispatcher.trouble = locked
    answers: list[Any] = []
    tried: list[str] = []

    async def unlock() -> None:
        loop = asyncio.get_running_loop()
        bench.desk.token.unlock = lambda: tried.append("unlock")

        def bring_up(then: Callable[[SigningError | None], None]) -> None:
            tried.append("bring up")
            loop.call_later(0.05, then, after)

        bench.desk.dispatcher.bring_up = bring_up
        told: asyncio.Future[Any] = loop.create_future()
        bench.administration.unlock(ROOT, told.set_result)
        assert not told.done(), "the token has not been asked yet"
        answers.append(await asyncio.wait_for(told, 5))

    asyncio.run(unlock())
    assert tried == ["unlock", "bring up"]
    assert answers == [after or {"state": "the token works"}]
    assert ('"result":"ok"' in bench.log.records[-1]) == (after is None)
