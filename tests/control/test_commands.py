"""The commands of the control socket, over a real conductor."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from secretsd.control.commands import Commands
from secretsd.control.protocol import Reply
from secretsd.errors import ExitCode, FailureClass, UsageError
from secretsd.model import UnitReport
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live
from tests.refresh.fakes import INVOCATION

ACTED = UnitReport("acted", invocation=INVOCATION, main_pid=1)
FAILED = UnitReport("failed", "the job failed", "see journalctl")
ACKNOWLEDGED = TOLD + "require_ack = true\n"


async def ask(daemon: Daemon, command: str, bundle: str | None = None, **request: object) -> Reply:
    return await Commands(daemon.conductor).run(command, bundle, {"timeout": "5s", **request})


def lines(reply: Reply) -> list[str]:
    found: Any = reply.body["lines"]
    return list(found)


async def ready(daemon: Daemon) -> None:
    """READY without waiting for any unit."""
    await daemon.until(lambda: all(s.ended for s in daemon.conductor.states.values()))
    daemon.conductor.bundles.be_ready()


def test_a_reload_returns_when_the_unit_has_loaded_what_is_new(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            helper.gate.clear()
            helper.asked.clear()
            reloading = asyncio.create_task(ask(daemon, "reload"))
            await helper.asked.wait()
            await asyncio.sleep(0.02)
            assert not reloading.done(), "published is not loaded"
            helper.gate.set()
            reply = await reloading
            assert (reply.code, lines(reply)) == (ExitCode.OK, [])
            assert reply.message == "up to date and loaded: 1 of 1 bundles"
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


def test_a_reload_says_at_once_what_has_failed_and_does_not_wait_for_the_retry(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [FAILED]
            await ready(daemon)
            for _ in range(2):
                before = time.monotonic()
                reply = await ask(daemon, "reload")
                assert time.monotonic() - before < 1
                assert reply.code is ExitCode.TRY_AGAIN
                assert lines(reply) == [
                    "bot: published, not loaded", "  the job failed", "  fix: see journalctl",
                ]  # fmt: skip
            assert len(helper.told) >= 2, "an operator's reload tells again"

    live(scenario())


@pytest.mark.parametrize(
    ("classes", "code"),
    [
        ([FailureClass.TRANSIENT], ExitCode.UNAVAILABLE),
        ([FailureClass.TRANSIENT, FailureClass.IDENTITY], ExitCode.REFUSED),
        ([FailureClass.TRANSIENT, FailureClass.DATA], ExitCode.DATA),
        ([FailureClass.IO, FailureClass.TRANSIENT], ExitCode.UNAVAILABLE),
        ([FailureClass.DATA, FailureClass.REFUSAL, FailureClass.IO], ExitCode.REFUSED),
        ([FailureClass.IO], ExitCode.IO),
        ([], ExitCode.TRY_AGAIN),
    ],
)
def test_the_exit_code_of_a_reload_is_the_worst_of_its_bundles(
    home: Home, classes: list[FailureClass], code: ExitCode
) -> None:
    """One bundle is always fine, and the unit of one has always failed."""
    names = [f"b{number}" for number in range(len(classes))]
    home.vault.put("fine", {"TOKEN": "fake-token-1"})
    failing = [a_bundle(name, secret=name, more="") for name in names]
    home.configure(a_bundle(), a_bundle("fine", secret="fine", more=""), *failing)
    for name, failure_class in zip(names, classes, strict=True):
        home.vault.fail(name, failure_class)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [FAILED]
            await ready(daemon)
            reply = await ask(daemon, "reload")
            assert reply.code is code
            assert f"1 of {len(classes) + 2} bundles" in reply.message
            for name in names:
                assert f"{name}: nothing is published" in lines(reply)
            assert "bot: published, not loaded" in lines(reply)
            assert (await ask(daemon, "reload", "fine")).code is ExitCode.OK

    live(scenario())


def test_a_reload_with_mistakes_names_each_and_leaves_all_as_it_was(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            before = daemon.state().begun
            home.configure(a_bundle() + "colour = 3\n", a_bundle("second") + "taste = 4\n")
            reply = await ask(daemon, "reload")
            assert (reply.code, reply.message) == (ExitCode.CONFIG, "2 mistakes in the configuration")
            assert "colour" in lines(reply)[0]
            assert lines(reply)[-1] == "the running configuration stays in force"
            assert daemon.state().begun == before
            assert helper.told == [(UNIT, 1)]

    live(scenario())


def test_a_reload_whose_time_is_over_says_what_is_still_under_way(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.hang("prod/bot")
            reply = await ask(daemon, "reload", timeout="50ms")
            assert reply.code is ExitCode.TRY_AGAIN
            assert lines(reply) == ["bot: its refresh has not ended yet: see secretsctl status bot"]
            helper.gate.clear()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            home.vault.open_gate.set()
            reply = await ask(daemon, "reload", timeout="300ms")
            assert reply.code is ExitCode.TRY_AGAIN
            assert lines(reply) == ["bot: published, not loaded", f"  {UNIT} has not been told yet"]
            helper.gate.set()

    live(scenario())


def test_a_reload_that_lets_go_of_a_bundle_under_another_reload_ends_both(home: Home) -> None:
    home.vault.put("slow", {"TOKEN": "fake-token-1"})
    home.configure(a_bundle(more=""), a_bundle("slow", secret="slow", more=""))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            home.vault.hang("slow")
            first = asyncio.create_task(ask(daemon, "reload"))
            assert await asyncio.to_thread(home.vault.fetching.wait, 5)
            home.configure(a_bundle(more=""))
            second = asyncio.create_task(ask(daemon, "reload"))
            await asyncio.sleep(0.02)
            home.vault.open_gate.set()
            for reply in await asyncio.gather(first, second):
                assert reply.code is ExitCode.OK

    live(scenario())


def test_wait_opens_when_the_first_publish_has_ended(home: Home) -> None:
    home.vault.hang("prod/bot")

    async def scenario() -> None:
        async with Daemon(home, ready=False) as daemon:
            reply = await ask(daemon, "wait", "bot", timeout="20ms")
            assert reply.code is ExitCode.TRY_AGAIN
            assert "its first refresh has not ended yet" in reply.message
            waiting = asyncio.create_task(ask(daemon, "wait", "bot"))
            home.vault.open_gate.set()
            assert (await waiting).body == {"generation": 1}

    live(scenario())


def test_wait_does_not_ask_the_source_for_what_is_published(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            fetched = len(home.vault.fetches)
            for options in ({}, {"max_age": "1h"}):
                assert (await ask(daemon, "wait", "bot", **options)).code is ExitCode.OK
            assert len(home.vault.fetches) == fetched

    live(scenario())


def test_wait_for_a_young_age_asks_the_source_and_says_what_it_may_use_when_that_is_out(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            fetched = len(home.vault.fetches)
            await asyncio.sleep(0.02)
            assert (await ask(daemon, "wait", "bot", max_age="10ms")).code is ExitCode.OK
            assert len(home.vault.fetches) == fetched + 1
            home.vault.fail("prod/bot")
            reply = await ask(daemon, "wait", "bot", max_age="0")
            assert reply.code is ExitCode.TRY_AGAIN
            assert "a fake failure; wait" in reply.message
            reply = await ask(daemon, "wait", "bot", max_age="0", allow_stale=True)
            assert reply.code is ExitCode.OK
            assert reply.message.startswith("stale, used all the same: bot was last confirmed")

    live(scenario())


def test_a_restart_does_not_forget_when_the_source_confirmed_what_is_published(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home):
            pass
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            assert (await ask(daemon, "wait", "bot", max_age="1h")).code is ExitCode.OK
            assert daemon.status()["confirmed_at"] is not None
            reply = await ask(daemon, "wait", "bot", max_age="0")
            assert reply.code is ExitCode.TRY_AGAIN
            assert "bot was last confirmed " in reply.message
            assert " s ago, allowed are 0 s: a fake failure" in reply.message
        (home.runtime_dir / ".confirmed" / "bot").write_text("no such thing")
        async with Daemon(home) as daemon:
            reply = await ask(daemon, "wait", "bot", max_age="1h")
            assert reply.code is ExitCode.TRY_AGAIN
            assert "before this start of secretsd" in reply.message

    live(scenario())


@pytest.mark.parametrize(
    "times", ["nan 1.0", "1.0 nan", "1.0 inf", "1.0 1e300", "-inf 1.0", "inf 1.0", "1e12 1.0", "1.0 -1.0"]
)
def test_a_confirmation_of_no_time_or_of_another_boot_is_none_and_status_goes_on(
    home: Home, times: str
) -> None:
    async def scenario() -> None:
        async with Daemon(home):
            pass
        home.vault.fail("prod/bot")
        note = home.runtime_dir / ".confirmed" / "bot"
        note.write_text(f"- {times} {note.read_text().split()[-1]}\n")
        async with Daemon(home) as daemon:
            assert daemon.status()["confirmed_at"] is None
            assert (await ask(daemon, "wait", "bot", max_age="1h")).code is ExitCode.TRY_AGAIN

    live(scenario())


def test_what_is_confirmed_is_one_content_and_no_other(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home):
            note = (home.runtime_dir / ".confirmed" / "bot").read_text()
        home.vault.put("prod/bot", {"TOKEN": "fake-second"})
        async with Daemon(home):
            pass
        (home.runtime_dir / ".confirmed" / "bot").write_text(note)
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            assert daemon.status()["confirmed_at"] is None

    live(scenario())


def test_a_bundles_own_max_age_gates_every_start_and_a_reload_changes_it(home: Home) -> None:
    home.configure(a_bundle(keys='max_age = "1h"'))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            assert (await ask(daemon, "wait", "bot")).code is ExitCode.OK
            home.vault.fail("prod/bot")
            daemon.state().confirmed_monotonic = time.monotonic() - 3601
            reply = await ask(daemon, "wait", "bot")
            assert (reply.code, "allowed are 1 h" in reply.message) == (ExitCode.TRY_AGAIN, True)
            assert daemon.status()["too_old"]
            assert (await ask(daemon, "wait", "bot", allow_stale=True)).code is ExitCode.OK
            home.configure(a_bundle(keys='max_age = "2d"'))
            await daemon.conductor.reload_configuration()
            assert (await ask(daemon, "wait", "bot")).code is ExitCode.OK
            assert not daemon.status()["too_old"]

    live(scenario())


def test_an_age_of_days_is_not_cut_to_one(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            home.vault.fail("prod/bot")
            daemon.state().confirmed_monotonic = time.monotonic() - 2 * 86400
            assert (await ask(daemon, "wait", "bot", max_age="3d")).code is ExitCode.OK
            assert (await ask(daemon, "wait", "bot", max_age="1d")).code is ExitCode.TRY_AGAIN

    live(scenario())


def test_an_acknowledgement_counts_for_the_generation_that_is_published_and_no_other(home: Home) -> None:
    home.configure(a_bundle(more=ACKNOWLEDGED))

    async def scenario() -> None:
        async with home.helper(), Daemon(home, ready=False) as daemon:
            await ready(daemon)
            for generation in (0, 2, -1, 10**30):
                reply = await ask(daemon, "ack", "bot", generation=generation)
                assert reply.code is ExitCode.DATA
            assert daemon.state().entry.loaded == {}
            reloading = asyncio.create_task(ask(daemon, "reload"))
            await asyncio.sleep(0.02)
            assert not reloading.done(), "a reload waits for the acknowledgement"
            assert (await ask(daemon, "ack", "bot", generation=1)).code is ExitCode.OK
            assert (await reloading).code is ExitCode.OK

    live(scenario())


def test_a_plan_tells_the_steps_and_does_none(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            steps: Any = (await ask(daemon, "plan")).body["steps"]
            assert [step["step"] for step in steps] == ["PublishBundle", "NotifyUnit"]
            assert daemon.generation() == 1
            assert helper.told == [(UNIT, 1)]

    live(scenario())


OWNED = 'owner = "nobody"' if os.geteuid() == 0 else ""  # `before` never runs as root
WAITS = """
[[bundles.NAME.on_change]]
unit = "patient.service"
action = "restart"
confirm = "0"
KEYS
"""


@pytest.mark.parametrize(
    ("keys", "reason", "is_dated"),
    [
        ("", None, False),
        ('before = ["/bin/true"]', "before", False),
        ('stagger = "10000d"', "stagger", True),
        ('windows = ["CLOSED"]', "window", True),
    ],
)
def test_a_plan_says_what_a_unit_would_wait_for(
    home: Home, keys: str, reason: str | None, *, is_dated: bool
) -> None:
    closed = datetime.fromtimestamp(time.time() + 3 * 86400, UTC).strftime("%a")
    more = WAITS.replace("KEYS", keys.replace("CLOSED", closed))
    home.configure(a_bundle("bot", keys=OWNED, more=more), a_bundle("another", more=""))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.until(lambda: daemon.state().record is not None)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            steps: Any = (await ask(daemon, "plan")).body["steps"]
            assert [step["bundle"] for step in steps] == ["another", "bot", "bot"]
            assert steps[-1]["waits_for"] == reason
            assert (steps[-1]["until"] is not None) is is_dated

    live(scenario())


def test_a_plan_under_which_its_bundle_is_removed_is_empty_and_no_bug(home: Home) -> None:
    home.vault.put("other", {"TOKEN": "fake-token-1"})
    other = a_bundle("other", secret="other", more="")
    home.configure(a_bundle(more=""), other)

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            home.vault.hang("prod/bot")
            planning = asyncio.create_task(ask(daemon, "plan", "bot"))
            assert await asyncio.to_thread(home.vault.fetching.wait, 5)
            home.configure(other)
            await daemon.conductor.reload_configuration()
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            home.vault.open_gate.set()
            assert (await planning).body == {"steps": []}

    live(scenario())


@pytest.mark.parametrize("command", ["status", "wait", "plan", "ack", "reload"])
def test_a_misspelt_bundle_is_answered_with_the_nearest_name(home: Home, command: str) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            with pytest.raises(UsageError, match="did you mean 'bot'"):
                await ask(daemon, command, "bott")

    live(scenario())


@pytest.mark.parametrize(
    ("command", "request_"),
    [
        ("wait", {"timeout": "soon"}),
        ("wait", {"max_age": "-1s"}),
        ("reload", {"timeout": "1 fortnight"}),
        ("ack", {"generation": "1"}),
        ("ack", {}),
        ("no-such-command", {}),
    ],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(
    home: Home, command: str, request_: dict[str, object]
) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            with pytest.raises(UsageError):
                await ask(daemon, command, "bot", **request_)

    live(scenario())


def test_a_schema_tells_kinds_and_publishes_nothing(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": MARKER, "SIZE": 3, "a-b": MARKER})
            reply = await ask(daemon, "schema", "bot")
            assert reply.code is ExitCode.OK
            assert reply.body["variables"] == {"SIZE": {"type": "integer"}, "TOKEN": {"min_length": 16}}
            assert reply.body["left_out"] == [{"secret": "prod/bot", "key": "a-b", "reason": "not-a-name"}]
            assert not shows(repr(reply))
            assert daemon.generation() == 1
            assert helper.told == [(UNIT, 1)]
            with pytest.raises(UsageError, match="schema needs a bundle"):
                await ask(daemon, "schema")

    live(scenario())


def test_a_schema_can_be_had_before_the_bundle_is_configured(home: Home) -> None:
    async def scenario() -> None:
        home.vault.put("prod/new", {"KEY": MARKER, "ON": True})
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            reply = await ask(daemon, "schema", "new", source="aws", id="prod/new")
            assert reply.body["variables"] == {"KEY": {"min_length": 16}, "ON": {"type": "boolean"}}
            assert set(daemon.conductor.states) == {"bot"}
            for request, said in [
                ({"source": "asw", "id": "x"}, "no source 'asw'; did you mean 'aws'"),
                ({"source": "aws"}, "source and id together"),
                ({"source": "aws", "id": ""}, "source and id together"),
                ({"id": "x"}, "source and id together"),
                ({}, "no bundle 'new'"),
            ]:
                with pytest.raises(UsageError, match=said):
                    await ask(daemon, "schema", "new", **request)

    live(scenario())


@pytest.mark.parametrize(
    ("failure_class", "code"),
    [
        (FailureClass.TRANSIENT, ExitCode.UNAVAILABLE),
        (FailureClass.IDENTITY, ExitCode.REFUSED),
        (FailureClass.REFUSAL, ExitCode.REFUSED),
    ],
)
def test_a_schema_that_cannot_be_had_says_why_and_changes_nothing(
    home: Home, failure_class: FailureClass, code: ExitCode
) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.fail("prod/bot", failure_class)
            reply = await ask(daemon, "schema", "bot")
            assert (reply.code, reply.message) == (code, "the secrets of bot could not be looked at")
            assert lines(reply) == ["a fake failure", "  fix: wait"]
            assert not daemon.state().failures
            daemon.workers.lost_before = "failed"
            assert (await ask(daemon, "schema", "bot")).code is ExitCode.IO

    live(scenario())
