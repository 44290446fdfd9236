"""What hints, real and made up, make a conductor do; the listeners are fakes that say what a test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from secretsd.errors import Failure, FailureClass
from secretsd.push.messages import Assignment, Deleted, Hint, ListenerMessage, NotReceived, Received
from secretsd.refresh.push import pushes
from secretsd.refresh.push import state as push_state
from tests.control.asking import Served
from tests.refresh.daemon import Daemon, Home, a_bundle, live

PUSH = '[sources.aws.push]\nqueue_url = "http://127.0.0.1:9/1/q"\n'
URL = "http://127.0.0.1:9/1/q"
GONE = Failure("queue-missing", FailureClass.IDENTITY, "there is no queue", "create it")


class FakeListener:
    """Says what the test makes it say."""

    all: list[FakeListener]

    def __init__(self, assignment: Assignment, hear: Callable[[ListenerMessage], None]) -> None:
        self.assignment, self.hear, self.restarts, self.stopped = assignment, hear, 0, False
        FakeListener.all.append(self)

    async def stop(self) -> None:
        self.stopped = True

    def receive(self, *hints: Hint, ignored: int = 0, malformed: int = 0) -> None:
        self.hear(Received(hints, ignored, malformed, {"ReceiveMessage": 1}))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeListener.all = []
    monkeypatch.setattr(pushes, "Listener", FakeListener)
    monkeypatch.setattr(pushes, "_PAUSE_S", 0.0)
    monkeypatch.setattr(pushes, "_ASK_AGAIN_S", (0.01, 0.02, 0.04))
    monkeypatch.setattr(push_state, "SPREAD_S", 0.0)


def hint(version: str | None, *, name: str = "prod/bot", label: str | None = "AWSCURRENT") -> Hint:
    return Hint(None, name, label, version)


def lags(daemon: Daemon) -> tuple[int, float]:
    """How many were measured, and their sum in seconds."""
    found = daemon.conductor.pushes.states["aws"].lags
    return sum(found.counts), found.sum_s


def test_the_lag_of_the_push_is_from_the_event_to_the_publish_that_has_its_version(home: Home) -> None:
    pushed(home)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            listener = await listening(daemon)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            at = time.time() - 100
            listener.receive(replace(hint("v2"), at=at), replace(hint("v1"), at=at - 1000))
            await daemon.until(lambda: daemon.generation() == 2)
            await quiet(daemon)
            count, sum_s = lags(daemon)
            assert (count, 100 <= sum_s < 110) == (1, True)
            assert daemon.conductor.pushes.states["aws"].lags.counts[-1:] == [0], "at most 300 s"
            # Told twice, not told when, or of what never came: nothing to measure.
            home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
            listener.receive(replace(hint("v2"), at=at), hint("v3"), replace(hint("never"), at=at))
            await daemon.until(lambda: daemon.generation() == 3)
            await quiet(daemon)
            assert lags(daemon) == (count, sum_s)
            # A host whose clock is behind.
            home.vault.put("prod/bot", {"TOKEN": "fake-token-4"})
            listener.receive(replace(hint("v4"), at=time.time() + 100))
            await daemon.until(lambda: daemon.generation() == 4)
            await quiet(daemon)
            assert lags(daemon) == (count + 1, sum_s)

    live(scenario())


def pushed(home: Home, *bundles: str) -> None:
    home.configure(PUSH, *(bundles or (a_bundle(),)))


async def listening(daemon: Daemon) -> FakeListener:
    """The listener of a daemon whose first round is over."""
    await daemon.until(lambda: all(state.ended for state in daemon.conductor.states.values()))
    listener = FakeListener.all[-1]
    listener.receive()
    return listener


async def quiet(daemon: Daemon) -> None:
    """Whatever was told has been followed."""
    while tasks := daemon.conductor.pushes._pursuits.values():
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_hint_refreshes_the_bundles_that_use_the_secret_and_no_other(home: Home) -> None:
    home.vault.put("other", {"TOKEN": "fake-token-0"})
    pushed(home, a_bundle(), a_bundle("other", secret="other", more=""))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            listener = await listening(daemon)
            fetches = len(home.vault.fetches)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            listener.receive(hint("v2"))
            await daemon.until(lambda: daemon.generation() == 2)
            await quiet(daemon)
            assert daemon.generation("other") == 1
            assert len(home.vault.fetches) == fetches + 1

    live(scenario())


def test_what_is_known_and_what_was_told_before_asks_nobody(home: Home) -> None:
    pushed(home)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            listener = await listening(daemon)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            listener.receive(hint("v2"), hint("v2"))
            await quiet(daemon)
            fetches = len(home.vault.fetches)
            listener.receive(hint("v2"), hint("v2", name="unknown"), hint("v9", label="AWSPENDING"))
            listener.receive(ignored=3, malformed=7)
            await quiet(daemon)
            assert len(home.vault.fetches) == fetches
            state = daemon.conductor.pushes.states["aws"]
            assert (state.hints, state.ignored, state.malformed) == (5, 3, 7)

    live(scenario())


def test_a_version_that_is_not_to_be_read_yet_is_asked_for_again_and_then_left_to_polling(home: Home) -> None:
    pushed(home)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            listener = await listening(daemon)
            fetches = len(home.vault.fetches)
            listener.receive(hint("v2"))
            await daemon.conductor.changes.until(lambda: len(home.vault.fetches) >= fetches + 2, 5.0)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.until(lambda: daemon.generation() == 2)
            await quiet(daemon)
            fetches = len(home.vault.fetches)
            listener.receive(hint("never-seen"))
            await quiet(daemon)
            assert len(home.vault.fetches) == fetches + 4

    live(scenario())


def test_hints_out_of_order_end_at_what_the_source_has(home: Home) -> None:
    pushed(home)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            listener = await listening(daemon)
            for number in (2, 3):
                home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
            for version in ("v3", "v2", "v3", "v2"):
                listener.receive(hint(version))
                await asyncio.sleep(0.01)
            await quiet(daemon)
            assert b"fake-token-3" in home.env()
            assert daemon.generation() == 2

    live(scenario())


def test_a_flood_of_made_up_hints_asks_the_source_at_its_own_pace(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(home)
    monkeypatch.setattr(pushes, "_PAUSE_S", 0.2)
    monkeypatch.setattr(pushes, "_ASK_AGAIN_S", ())

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            listener = await listening(daemon)
            fetches = len(home.vault.fetches)
            for number in range(1000):
                listener.receive(*(hint(f"made-up-{number}-{k}") for k in range(10)))
                await asyncio.sleep(0)
            await quiet(daemon)
            assert len(home.vault.fetches) - fetches <= 10
            assert daemon.generation() == 1
            assert len(daemon.conductor.pushes._pursued) == 0

    live(scenario())


def test_polling_slows_while_the_push_is_healthy_and_not_after(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "HEALTHY_S", 0.25)
    pushed(home, a_bundle(keys='refresh_interval = "1s"'))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            listener = await listening(daemon)
            await daemon.refresh()  # what was told before the push was healthy may be lost
            await daemon.until(lambda: not daemon.conductor.bundles.flying)
            now = asyncio.get_running_loop().time()
            assert 1000 < daemon.conductor.due_at("bot") - now < 2000
            assert daemon.status()["next_refresh_s"] > 1000
            fetches = len(home.vault.fetches)
            daemon.state().next_due = now  # as if its own interval were over
            for _ in range(15):
                listener.receive()
                await asyncio.sleep(0.1)
            assert len(home.vault.fetches) == fetches
            # Now it says nothing any more.
            await daemon.until(lambda: len(home.vault.fetches) > fetches)
            assert not daemon.conductor.pushes.states["aws"].is_healthy

    live(scenario())


def test_a_push_that_does_not_answer_is_told_by_status_and_ends_when_it_does(home: Home) -> None:
    pushed(home)

    async def scenario() -> None:
        async with home.helper(), Served(home, home.directory / "c.sock") as daemon:
            await daemon.until(lambda: bool(daemon.state().ended))
            listener = FakeListener.all[-1]
            listener.hear(NotReceived(GONE, {"ReceiveMessage": 1}))
            body = (await daemon.ask("status")).body
            assert body is not None
            part = body["sources"]["aws"]["push"]
            assert (part["healthy"], part["failure"]["code"]) == (False, "queue-missing")
            assert [text for text in body["daemon"]["warnings"] if "there is no queue. create it" in text]
            listener.receive()
            listener.hear(Deleted(None, {"DeleteMessageBatch": 1}))
            body = (await daemon.ask("status")).body
            assert body is not None
            assert body["sources"]["aws"]["push"]["failure"] is None
            assert not [text for text in body["daemon"]["warnings"] if text.startswith("push ")]
            book = daemon.conductor.bundles.sources.calls
            calls = book.days[book.today.isoformat()]["aws"].calls
            assert (calls["ReceiveMessage"], calls["DeleteMessageBatch"]) == (2, 1)

    live(scenario())


def test_a_push_that_changes_is_replaced_and_one_that_is_taken_out_is_stopped(home: Home) -> None:
    pushed(home)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            first = await listening(daemon)
            pushed(home, a_bundle(keys='refresh_interval = "2h"'))
            await daemon.conductor.reload_configuration()
            await daemon.refresh()
            assert FakeListener.all == [first], "what did not change goes on"
            home.configure(PUSH.replace("/q", "/other"), a_bundle())
            await daemon.conductor.reload_configuration()
            await daemon.refresh()
            second = FakeListener.all[-1]
            assert (first.stopped, second.assignment.queue_url) == (True, URL.replace("/q", "/other"))
            second.receive()
            first.receive(hint("late"))  # on its way when it was stopped
            home.configure(a_bundle())
            await daemon.conductor.reload_configuration()
            await daemon.refresh()
            await asyncio.sleep(0.01)
            assert second.stopped
            assert daemon.conductor.pushes.states == {}
            now = asyncio.get_running_loop().time()
            assert daemon.conductor.due_at("bot") - now < 3700, "the own interval counts at once"

    live(scenario())


def test_a_bundle_on_hold_hears_of_a_version_once_and_keeps_what_it_shows(home: Home) -> None:
    pushed(home)

    async def scenario() -> None:
        async with home.helper(), Served(home, home.directory / "c.sock") as daemon:
            await daemon.loaded()
            listener = await listening(daemon)
            await daemon.ask("hold", "bot", reason="market is open")
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            fetches = len(home.vault.fetches)
            listener.receive(hint("v2"))
            await quiet(daemon)
            assert len(home.vault.fetches) == fetches + 1
            assert daemon.generation() == 1
            assert daemon.status()["hold"]["waiting"]

    live(scenario())
