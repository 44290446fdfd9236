"""The real listener in a process of its own, at moto's queue, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from secretsd.push.messages import Assignment, Deleted, Hint, ListenerMessage, NotReceived, Received
from secretsd.refresh.push import listeners
from secretsd.refresh.push.listeners import Listener
from tests.canary.spellings import MARK
from tests.lab.push import FakePush
from tests.push.samples import VERSION, cloudtrail, from_sns, native
from tests.refresh.sources.scripted_aws import Answer, ScriptedAws, error, ok

SECRET = f"{MARK}that-no-listener-sees"


class Heard:
    """What a listener has told."""

    def __init__(self) -> None:
        self.messages: list[ListenerMessage] = []
        self._news = asyncio.Event()

    def __call__(self, message: ListenerMessage) -> None:
        self.messages.append(message)
        self._news.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def hints(self) -> list[Hint]:
        return [hint for message in self.of(Received) for hint in message.hints]

    def total(self, field: str) -> int:
        return sum(getattr(message, field) for message in self.of(Received))


@contextlib.asynccontextmanager
async def listening(url: str, queue_url: str) -> AsyncIterator[tuple[Heard, Listener]]:
    heard = Heard()
    listener = Listener(Assignment("aws", queue_url, "us-east-1", url), heard)
    try:
        yield heard, listener
    finally:
        await listener.stop()


def live(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def child() -> int:
    """The one child of this process that is a listener."""
    found = [pid for pid in _children(os.getpid()) if b"push.listener" in _command_line(pid)]
    assert len(found) == 1, found
    return found[0]


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(each) for each in (task / "children").read_text().split()]
    return found


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_rotation_is_heard_within_a_second_and_its_message_deleted(push: FakePush) -> None:
    push.aws.create("prod/bot", {"TOKEN": SECRET})

    async def scenario() -> None:
        async with listening(push.aws.url, push.queue_url) as (heard, _):
            await heard.until(lambda: bool(heard.of(Deleted)))
            assert heard.of(Deleted)[0].failure is None, "it may delete, and knows that before any message"
            before = time.monotonic()
            version = await asyncio.to_thread(push.put, "prod/bot", {"TOKEN": SECRET + "2"})
            await heard.until(lambda: bool(heard.hints), 30)
            assert time.monotonic() - before < 1.0
            (hint,) = heard.hints
            assert (hint.name, hint.label, hint.version_id) == ("prod/bot", "AWSCURRENT", version)
            await heard.until(lambda: len(heard.of(Deleted)) > 1)
            assert push.waiting() == 0
            assert heard.of(NotReceived) == []

    live(scenario())


def test_every_form_is_heard_and_garbage_is_counted_deleted_and_never_shown(
    push: FakePush, capfd: pytest.CaptureFixture[str]
) -> None:
    garbage = [f"fake-garbage-{number}" * 20 for number in range(300)]
    events = [native(), from_sns(native(labelUpdated="LIVE")), cloudtrail("TagResource")]
    push.send(*garbage[:150], *(json.dumps(event) for event in events), *garbage[150:])

    async def scenario() -> None:
        async with listening(push.aws.url, push.queue_url) as (heard, _):
            await heard.until(lambda: heard.total("malformed") >= 300 and len(heard.hints) >= 2, 40)
            await heard.until(lambda: len(heard.of(Deleted)) >= 31)
            assert {hint.label for hint in heard.hints} == {"AWSCURRENT", "LIVE"}
            assert (heard.total("malformed"), heard.total("ignored")) == (300, 1)
            assert push.waiting() == 0
            assert "fake-garbage" not in repr(heard.messages)

    live(scenario())
    assert "fake-garbage" not in "".join(capfd.readouterr())


def test_ten_thousand_messages_of_garbage_are_counted_and_deleted(scripted: ScriptedAws) -> None:
    left = [1000]

    def answer(operation: str, params: dict[str, Any]) -> Answer:
        if operation == "DeleteMessageBatch":
            return ok({"Successful": [{"Id": entry["Id"]} for entry in params["Entries"]], "Failed": []})
        left[0] -= 1
        if left[0] < 0:
            return ok({}, delay_s=5.0)
        bodies = [f"fake-garbage-{left[0]}-{number}" * 50 for number in range(10)]
        return ok({"Messages": [{"Body": body, "ReceiptHandle": f"h-{body[:40]}"} for body in bodies]})

    scripted.script = answer

    async def scenario() -> None:
        async with listening(scripted.url, "https://sqs.us-east-1.amazonaws.com/1/q") as (heard, listener):
            await heard.until(lambda: heard.total("malformed") >= 10_000, 100)
            await heard.until(lambda: scripted.operations().count("DeleteMessageBatch") >= 1000)
            assert (listener.restarts, heard.of(NotReceived)) == (0, [])
            assert "fake-garbage" not in repr(heard.messages)

    asyncio.run(asyncio.wait_for(scenario(), 150))


def test_a_listener_that_is_killed_is_started_again_and_misses_nothing(push: FakePush) -> None:
    async def scenario() -> None:
        async with listening(push.aws.url, push.queue_url) as (heard, listener):
            await heard.until(lambda: bool(heard.of(Deleted)))
            os.kill(child(), signal.SIGKILL)
            push.send(json.dumps(native()))
            await heard.until(lambda: bool(heard.hints), 30)
            assert heard.of(NotReceived)[0].failure.code == "listener-lost"
            assert listener.restarts == 1
            assert heard.hints[0].version_id == VERSION

    live(scenario())


def test_a_listener_that_says_nothing_is_killed(push: FakePush, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "_SILENCE_S", 1.5)

    async def scenario() -> None:
        async with listening(push.aws.url, push.queue_url) as (heard, _):
            await heard.until(lambda: bool(heard.of(Deleted)))
            stopped = child()
            os.kill(stopped, signal.SIGSTOP)
            await heard.until(lambda: bool(heard.of(NotReceived)))
            assert "said nothing" in heard.of(NotReceived)[0].failure.message
            assert not Path(f"/proc/{stopped}").exists()

    live(scenario())


def test_a_queue_that_is_deleted_and_made_again_is_heard_again(push: FakePush) -> None:
    async def scenario() -> None:
        async with listening(push.aws.url, push.queue_url) as (heard, listener):
            await heard.until(lambda: bool(heard.of(Deleted)))
            await asyncio.to_thread(push.delete_queue)
            # The wait that is under way ends when a message comes, or after 20 s.
            await heard.until(lambda: bool(heard.of(NotReceived)), 30)
            assert heard.of(NotReceived)[0].failure.code == "queue-missing"
            await asyncio.to_thread(push.make_queue)
            push.send(json.dumps(native()))
            await heard.until(lambda: bool(heard.hints), 30)
            assert listener.restarts == 0, "it lives on"

    live(scenario())


def test_a_refusal_is_told_and_asked_again_with_growing_pauses(scripted: ScriptedAws) -> None:
    scripted.answer_in_turn(
        error("AccessDenied"), error("AccessDenied"), error("InternalError", status=500), ok({})
    )

    async def scenario() -> None:
        async with listening(scripted.url, "https://sqs.us-east-1.amazonaws.com/1/q") as (heard, _):
            await heard.until(lambda: bool(heard.of(Received)))
            codes = [message.failure.code for message in heard.of(NotReceived)]
            assert codes == ["access-denied", "access-denied", "server-error"]

    live(scenario())


def test_what_may_not_be_deleted_is_told_once_more_and_not_in_a_hurry(scripted: ScriptedAws) -> None:
    message = {"Body": json.dumps(native()), "ReceiptHandle": "h"}

    def answer(operation: str, params: dict[str, Any]) -> Answer:
        return error("AccessDenied") if operation == "DeleteMessageBatch" else ok({"Messages": [message]})

    scripted.script = answer

    async def scenario() -> None:
        async with listening(scripted.url, "https://sqs.us-east-1.amazonaws.com/1/q") as (heard, listener):
            await heard.until(lambda: len(heard.of(Deleted)) >= 2)
            assert {message.failure.code for message in heard.of(Deleted)} == {"access-denied"}
            assert heard.hints, "a hint that cannot be deleted is a hint"
            assert listener.restarts == 0
            asked = scripted.operations().count("ReceiveMessage")
            await asyncio.sleep(2.0)
            assert scripted.operations().count("ReceiveMessage") - asked <= 3

    live(scenario())


def test_an_endpoint_that_answers_at_once_is_not_asked_in_a_hurry(scripted: ScriptedAws) -> None:
    scripted.answer_in_turn(ok({}))

    async def scenario() -> None:
        async with listening(scripted.url, "https://sqs.us-east-1.amazonaws.com/1/q") as (heard, _):
            await heard.until(lambda: bool(heard.of(Received)))
            await asyncio.sleep(3.0)
            assert scripted.operations().count("ReceiveMessage") <= 4

    live(scenario())


def test_the_listener_has_no_rights_makes_no_core_and_ends_with_its_parent(push: FakePush) -> None:
    async def scenario() -> None:
        async with listening(push.aws.url, push.queue_url) as (heard, _):
            await heard.until(lambda: bool(heard.of(Deleted)))
            pid = child()
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
            descriptors = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)}
            assert descriptors == {"/dev/null"}
            assert SECRET.encode() not in _command_line(pid)
        assert not Path(f"/proc/{pid}").exists()

    live(scenario())
