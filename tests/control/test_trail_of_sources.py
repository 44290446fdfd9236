"""On record: what pushes tell and how they do, sealed copies, and that a failure is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from secretsd.errors import Failure, FailureClass
from secretsd.push.messages import Deleted, NotReceived
from secretsd.refresh import trail
from secretsd.refresh.push import pushes
from tests.control.asking import Served
from tests.control.test_trail import landed, order_of, said
from tests.refresh.daemon import Home, a_bundle, live
from tests.refresh.test_pushes import GONE, FakeListener, hint, listening, pushed, quiet

SEALED = 'sealed_copy = { max_age = "7d" }'
DENIED = Failure("access-denied", FailureClass.REFUSAL, "it may not be deleted", "allow it")


@pytest.fixture(autouse=True)
def listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeListener.all = []
    monkeypatch.setattr(pushes, "Listener", FakeListener)
    monkeypatch.setattr(pushes, "_PAUSE_S", 0.0)
    monkeypatch.setattr(pushes, "_ASK_AGAIN_S", ())


def test_a_hint_that_makes_a_source_be_asked_is_on_record_before_what_comes_of_it(
    home: Home, socket_path: Path
) -> None:
    pushed(home)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            listener = await listening(served)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            listener.receive(hint("v2"), hint("v2"))
            await served.until(lambda: served.generation() == 2)
            await quiet(served)
            listener.receive(hint("v2"), hint("v7", name="of-nobody"))
            await quiet(served)

    live(scenario())
    (told,) = said(home, "hint")
    assert told == {
        "action": "hint",
        "actor": "daemon",
        "phase": "outcome",
        "result": "ok",
        "bundle": "bot",
        "secrets": [{"source": "aws", "secret": "prod/bot", "version_id": "v2"}],
    }
    ours = [each for each in order_of(home) if each in ("hint", "fetch", "publish")]
    assert ours == ["fetch", "publish", "hint", "fetch", "publish"]


def test_a_push_is_on_record_when_it_answers_fails_and_falls_silent_and_not_in_between(
    home: Home, socket_path: Path
) -> None:
    pushed(home)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            listener = await listening(served)
            for _ in range(5):
                listener.receive()
                listener.hear(Deleted(None, {}))
            for message in ("gone", "gone for other reasons"):
                listener.hear(NotReceived(replace(GONE, message=message), {}))
            listener.receive()
            for _ in range(3):
                listener.receive()
                listener.hear(Deleted(DENIED, {}))
            listener.hear(Deleted(None, {}))
            served.conductor.pushes._be_silent("aws")
            listener.receive()

    live(scenario())
    told = said(home, "push")
    assert {each["source"] for each in told} == {"aws"}
    assert [(each["result"], each.get("reason")) for each in told] == [
        ("ok", None),
        ("refused", "queue-missing"),
        ("ok", None),
        ("refused", "access-denied"),
        ("ok", None),
        ("failed", "silent"),
        ("ok", None),
    ]


def test_a_flood_of_what_is_no_hint_is_counted_and_does_not_fill_the_disk(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(home)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            listener = await listening(served)
            listener.receive(ignored=1, malformed=2)
            for _ in range(1000):
                listener.receive(malformed=7)
            monkeypatch.setattr(trail, "_DISCARDED_EVERY_S", 0.0)  # as if the hour were over
            listener.receive(malformed=1)
            listener.receive()
            monkeypatch.undo()
            listener.receive(ignored=3)

    live(scenario())
    told = [(each["source"], each["ignored"], each["malformed"]) for each in said(home, "discard")]
    assert told == [("aws", 1, 2), ("aws", 0, 7001), ("aws", 3, 0)], "the rest is told at the end"


def test_a_refresh_that_works_again_is_on_record_once(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            await landed(served)
            home.vault.fail("prod/bot", FailureClass.REFUSAL)
            for _ in range(3):
                await landed(served)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await landed(served)
            await landed(served)

    live(scenario())
    kept, well = said(home, "refresh")
    assert (kept["result"], kept["reason"]) == ("refused", "fake-refusal")
    assert (well["bundle"], well["result"], well["failed"]) == ("bot", "ok", 3)
    assert order_of(home).count("publish") == 2


def test_a_sealed_copy_is_on_record_with_what_is_in_it(home: Home, socket_path: Path) -> None:
    home.configure(a_bundle(keys=SEALED, more=""))

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            await served.until(lambda: 1 in served.state().sealed)
            await landed(served)

    live(scenario())
    (seal,) = said(home, "seal")
    assert (seal["bundle"], seal["generation"], seal["result"]) == ("bot", 1, "ok")
    assert seal["secrets"] == [{"source": "aws", "secret": "prod/bot", "version_id": "v1"}]
    assert order_of(home).index("publish") < order_of(home).index("seal")


def test_a_copy_that_cannot_be_made_is_on_record_once_for_each_reason(home: Home, socket_path: Path) -> None:
    home.configure(a_bundle(keys=SEALED, more=""))
    home.key.unlink()

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            await served.until(lambda: served.state().sealed_problem is not None)
            await landed(served)
            home.key.touch(0o600)
            home.key.write_bytes(b"too short")
            await landed(served)
            await landed(served)
            home.key.write_bytes(bytes(range(32)))
            await landed(served)

    live(scenario())
    told = [(each["bundle"], each["result"], each.get("reason")) for each in said(home, "seal")]
    assert told == [("bot", "failed", "sealed-key-missing"), ("bot", "ok", None)]
