"""The way of a request to the token: limits, deadlines, calls that hang, a token that is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from secretsd.signing.dispatch import Dispatcher, Job
from secretsd.signing.errors import SigningError
from secretsd.signing.pkcs11.lane import NeedsReset, Troubled

ROOT = Path(__file__).resolve().parents[2]
LATER_NS = 60_000_000_000


class FakeToken:
    """A token whose lanes do as the jobs say; counts its resets."""

    latched: SigningError | None = None

    def __init__(self) -> None:
        self.resets = 0
        self.troubles: list[SigningError] = []

    def reset(self) -> None:
        self.resets += 1
        if self.troubles:
            raise self.troubles.pop(0)

    def lane(self, *, patient: bool = True) -> Any:
        return FakeLane(patient, self.resets)


class FakeLane:
    def __init__(self, patient: bool, resets: int) -> None:
        self.patient = patient
        self.resets = resets  # of the token, before the lane was made

    def close(self) -> None:
        pass


class Bench:
    """A dispatcher of the running loop over a fake token."""

    def __init__(self, *, sessions: int = 2, inline: bool = False, queue: int = 8) -> None:
        self.token = FakeToken()
        self.dispatcher = Dispatcher(
            self.token, sessions=sessions, inline=inline, queue=queue, hang_limit_s=30.0
        )
        self.dispatcher.bring_up()

    def ask(
        self,
        work: Callable[[Any], Any],
        *,
        uid: int = 0,
        key: str = "a",
        deadline_ns: int = 0,
        once: bool = False,
    ) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        deadline_ns = deadline_ns or time.monotonic_ns() + LATER_NS
        try:
            self.dispatcher.submit(Job(uid, key, work, done.set_result, deadline_ns, once=once))
        except SigningError as error:
            done.set_result(error)
        return done


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def code(result: Any) -> str:
    assert isinstance(result, SigningError), result
    return result.code


def test_work_is_done_in_threads_and_answered_on_the_loop() -> None:
    async def test() -> None:
        bench = Bench()
        assert await bench.ask(lambda _: threading.current_thread() is not threading.main_thread())
        bench.dispatcher.stop()

    run(test())


def test_inline_work_is_done_at_once_and_troubled_work_by_a_patient_lane() -> None:
    async def test() -> None:
        bench = Bench(inline=True)
        await bench.ask(lambda _: b"")

        def work(lane: FakeLane) -> str:
            if not lane.patient:
                raise Troubled
            return threading.current_thread().name

        assert bench.ask(lambda _: 1).done()
        troubled = bench.ask(work)
        assert not troubled.done()
        assert (await troubled).startswith("session-")
        assert (await bench.ask(lambda _: threading.current_thread().name, once=True)).startswith("session-")
        bench.dispatcher.stop()

    run(test())


@pytest.mark.parametrize("inline", [False, True])
def test_a_deadline_that_passed_keeps_the_token_from_being_asked(inline: bool) -> None:
    async def test() -> None:
        bench = Bench(inline=inline)
        asked: list[int] = []
        assert code(await bench.ask(lambda _: asked.append(1), deadline_ns=1)) == "deadline-expired"
        assert asked == []
        bench.dispatcher.stop()

    run(test())


def test_a_deadline_ends_the_waiting_behind_a_key_that_hangs() -> None:
    async def test() -> None:
        bench = Bench(sessions=1)
        gate = threading.Event()
        hanging = [bench.ask(lambda _: gate.wait(10)) for _ in range(2)]
        began_s = time.monotonic()
        waiting = bench.ask(lambda _: b"", deadline_ns=time.monotonic_ns() + 100_000_000)
        assert code(await waiting) == "deadline-expired"
        assert time.monotonic() - began_s < 1.0
        assert not any(each.done() for each in hanging)
        gate.set()
        await asyncio.gather(*hanging)
        bench.dispatcher.stop()

    run(test())


def test_a_full_queue_refuses_and_one_key_leaves_sessions_to_the_others() -> None:
    async def test() -> None:
        bench = Bench(sessions=4, queue=8)
        await bench.ask(lambda _: b"")
        gate = threading.Event()
        hanging = [bench.ask(lambda _: gate.wait(10)) for _ in range(3 + 8)]
        assert code(await bench.ask(lambda _: b"")) == "queue-full"
        # What waits is full for everybody: the other key's turn comes with the next free place.
        gate.set()
        await asyncio.gather(*hanging)
        gate.clear()
        hanging = [bench.ask(lambda _: gate.wait(10)) for _ in range(8)]
        assert await asyncio.wait_for(bench.ask(lambda _: b"free", key="b"), 1.0) == b"free"
        gate.set()
        await asyncio.gather(*hanging)
        bench.dispatcher.stop()

    run(test())


def test_a_reset_waits_for_the_calls_under_way_and_then_repeats_what_was_lost() -> None:
    async def test() -> None:
        bench = Bench(sessions=2)
        await bench.ask(lambda _: b"")
        gate, tries = threading.Event(), []

        def lost_once(_: Any) -> bytes:
            tries.append(bench.token.resets)
            if len(tries) == 1:
                raise NeedsReset
            return b"recovered"

        slow = bench.ask(lambda _: gate.wait(10), key="slow")
        lost = bench.ask(lost_once)
        await asyncio.sleep(0.1)
        assert bench.token.resets == 1, "C_Finalize during a call is undefined"
        gate.set()
        assert await slow
        assert await lost == b"recovered"
        assert tries == [1, 2]
        bench.dispatcher.stop()

    run(test())


def test_no_session_from_before_a_reset_is_used_after_it() -> None:
    """Not even one that was opened while the calls under way were waited for: its handles may name others."""

    async def test() -> None:
        bench = Bench(sessions=8)
        await bench.ask(lambda _: b"")
        late, later = threading.Event(), threading.Event()

        def lost(_: Any) -> None:
            if bench.token.resets == 1:
                raise NeedsReset

        under_way = [bench.ask(lambda _: later.wait(10), key=f"slow-{number}") for number in range(7)]
        under_way += [bench.ask(lost), bench.ask(lambda _: late.wait(10), key="b")]
        while_it_drains = bench.ask(lambda lane: lane.resets, key="c")
        await asyncio.sleep(0.1)
        late.set()
        assert await while_it_drains == 1, "none was opened before the reset: nothing is shown"
        later.set()
        await asyncio.gather(*under_way)
        assert bench.token.resets == 2
        all_at_once = threading.Barrier(8, timeout=10)

        def lane_of_each_thread(lane: FakeLane) -> int:
            all_at_once.wait()
            return lane.resets

        jobs = [bench.ask(lane_of_each_thread, key=f"key-{number}") for number in range(8)]
        assert await asyncio.gather(*jobs) == [2] * 8
        bench.dispatcher.stop()

    run(test())


@pytest.mark.parametrize("inline", [False, True])
def test_an_answer_that_raises_costs_the_others_neither_theirs_nor_the_reset(inline: bool) -> None:
    def bad(_: Any) -> None:
        raise RuntimeError

    async def test() -> None:
        bench = Bench(inline=inline)
        await bench.ask(lambda _: b"")
        gate = threading.Event()
        soon_ns = time.monotonic_ns() + 100_000_000
        # Two that end before the loop looks: the first one's answer raises, the second has lost the token.
        for work in (lambda _: gate.wait(10), lambda _: gate.wait(10), lambda _: None):
            bench.dispatcher.submit(Job(0, "a", work, bad, soon_ns, once=True))
        lost = bench.ask(_lost_at_first(bench), key="b")
        gate.set()
        time.sleep(0.2)  # noqa: ASYNC251 - so that all of it is there when the loop looks
        assert await lost == b"after a reset"
        bench.token.troubles = [SigningError("token-missing", "gone")]
        bench.dispatcher.submit(Job(0, "a", _lost_at_first(bench), bad, time.monotonic_ns() + LATER_NS))
        await asyncio.sleep(0.5)
        assert await bench.ask(lambda _: b"back") == b"back"
        bench.dispatcher.stop()

    run(test())


def _lost_at_first(bench: Bench) -> Callable[[Any], bytes]:
    before = bench.token.resets

    def work(lane: FakeLane) -> bytes:
        if bench.token.resets == before:
            raise NeedsReset
        return b"after a reset"

    return work


def test_a_job_that_breaks_the_token_again_and_again_is_given_up() -> None:
    async def test() -> None:
        bench = Bench()

        def breaks(_: Any) -> None:
            raise NeedsReset

        assert code(await bench.ask(breaks)) == "token-unavailable"
        assert bench.token.resets <= 4
        assert await bench.ask(lambda _: b"others go on") == b"others go on"
        bench.dispatcher.stop()

    run(test())


def test_making_a_key_is_not_repeated_when_the_token_is_lost() -> None:
    async def test() -> None:
        bench = Bench()
        tries: list[int] = []

        def make(_: Any) -> None:
            tries.append(1)
            raise NeedsReset

        assert code(await bench.ask(make, once=True)) == "token-unavailable"
        assert len(tries) == 1
        bench.dispatcher.stop()

    run(test())


def test_a_refused_pin_is_not_tried_again_and_others_are() -> None:
    async def test() -> None:
        bench = Bench()
        await bench.ask(lambda _: b"")
        bench.token.troubles = [SigningError("token-missing", "gone"), SigningError("token-missing", "gone")]
        bench.dispatcher.bring_up()
        assert code(await bench.ask(lambda _: b"")) == "token-missing"
        await asyncio.sleep(0.4)
        assert await bench.ask(lambda _: b"back") == b"back"
        bench.token.troubles = [SigningError("pin-locked", "refused")]
        ended: list[SigningError | None] = []
        resets = bench.token.resets
        bench.dispatcher.bring_up(ended.append)
        await asyncio.sleep(0.4)
        assert [each and each.code for each in ended] == ["pin-locked"]
        assert bench.token.resets == resets + 1
        assert code(await bench.ask(lambda _: b"")) == "pin-locked"
        bench.dispatcher.stop()

    run(test())


def test_a_bug_in_one_request_ends_that_request() -> None:
    async def test() -> None:
        for inline in (False, True):
            bench = Bench(inline=inline)
            await bench.ask(lambda _: b"")
            assert code(await bench.ask(lambda _: 1 / 0)) == "bug"
            assert await bench.ask(lambda _: b"next") == b"next"
            bench.dispatcher.stop()

    run(test())


HANGING = """
    import asyncio, sys, time
    sys.path.insert(0, {root!r})
    from tests.signing.test_dispatch import FakeToken
    from secretsd.signing.dispatch import Dispatcher, Job

    async def main():
        dispatcher = Dispatcher(FakeToken(), sessions=2, inline={inline}, queue=8, hang_limit_s=1.0)
        dispatcher.bring_up()
        await asyncio.sleep(0.2)
        print("hangs", flush=True)
        dispatcher.submit(Job(0, "a", lambda _: time.sleep(60), print, time.monotonic_ns() + 10**11))
        for _ in range(600):
            await asyncio.sleep(0.1)

    asyncio.run(main())
"""


@pytest.mark.parametrize(("inline", "status"), [(False, 69), (True, -signal.SIGALRM)])
def test_a_call_that_hangs_ends_the_process_at_its_limit(inline: bool, status: int) -> None:
    code = textwrap.dedent(HANGING).format(root=os.fspath(ROOT), inline=inline)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        began_s = time.monotonic()
        assert process.wait(10) == status
        assert 0.9 < time.monotonic() - began_s < 2.0
