"""What people and programs are told of the conductor's state."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from secretsd.control.report import describe_step, document, shortfall, state_word, status_line
from secretsd.errors import ExitCode, FailureClass
from secretsd.model import UnitReport
from secretsd.refresh.plan import KeepStale, NotifyUnit, PublishBundle, RemoveBundle, RestoreBundle, Step
from secretsd.refresh.state import BundleState
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live
from tests.refresh.fakes import failure

FAILED = UnitReport("failed", "the job failed", "see journalctl")


def untold(home: Home, check: Callable[[Daemon, BundleState], None]) -> None:
    """A bundle that is published as generation 1, before anybody was told."""

    async def scenario() -> None:
        async with Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.state().ended == 1)
            check(daemon, daemon.state())

    live(scenario())


def told(state: BundleState, report: UnitReport, generation: int = 1, unit: str = UNIT) -> None:
    delivery = state.delivery(unit)
    delivery.generation, delivery.report = generation, report
    delivery.failed_attempts = int(report.outcome == "failed")


def loaded(state: BundleState, generation: int, unit: str = UNIT) -> None:
    state.entry = replace(state.entry, loaded={**state.entry.loaded, unit: generation})


def test_missing_is_what_is_not_published(home: Home) -> None:
    home.vault.fail("prod/bot")
    untold(home, lambda daemon, _: _says(daemon, "missing"))


def _says(daemon: Daemon, word: str) -> None:
    assert state_word(daemon.conductor, "bot") == word


def test_altered_is_what_somebody_changed_whatever_its_units_say(home: Home) -> None:
    def check(daemon: Daemon, state: BundleState) -> None:
        loaded(state, 1)
        (home.runtime_dir / "bot" / "env").unlink()
        _says(daemon, "altered")

    untold(home, check)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        ("", "published"),
        ("failed", "published"),
        ("starting", "published"),
        ("confirming", "notified"),
        ("unacknowledged", "notified"),
    ],
)
def test_published_is_what_nobody_was_told_and_notified_what_is_not_yet_sure(
    home: Home, outcome: str, word: str
) -> None:
    def check(daemon: Daemon, state: BundleState) -> None:
        if outcome:
            told(state, UnitReport(outcome))
        _says(daemon, word)
        told(state, UnitReport("confirming"), generation=7)
        _says(daemon, "published")  # a report on another generation says nothing of this one

    untold(home, check)


def test_loaded_is_what_every_unit_has_that_is_to_be_told(home: Home) -> None:
    quiet = '[[bundles.NAME.on_change]]\nunit = "quiet.service"\naction = "none"\n'
    home.configure(a_bundle(more=TOLD + TOLD.replace(UNIT, "second.service") + quiet))

    def check(daemon: Daemon, state: BundleState) -> None:
        loaded(state, 1)
        _says(daemon, "published")
        told(state, UnitReport("confirming"), unit="second.service")
        _says(daemon, "notified")
        loaded(state, 1, "second.service")
        _says(daemon, "loaded")

    untold(home, check)


def unit_of(daemon: Daemon) -> tuple[str, str]:
    (unit,) = daemon.status()["units"]
    return unit["state"], unit["message"]


def test_a_unit_shows_the_report_on_the_generation_that_is_published_and_no_other(home: Home) -> None:
    def check(daemon: Daemon, state: BundleState) -> None:
        assert unit_of(daemon) == ("pending", "")
        told(state, FAILED, generation=7)
        assert unit_of(daemon) == ("pending", "")
        told(state, FAILED)
        assert unit_of(daemon) == ("failed", "the job failed")
        told(state, UnitReport("acted"))
        assert unit_of(daemon) == ("waiting", ""), "it must still acknowledge"
        told(state, UnitReport("inactive", "bot.service is not running"))
        loaded(state, 1)
        assert unit_of(daemon)[0] == "inactive"
        told(state, UnitReport("acted"))
        assert unit_of(daemon)[0] == "loaded"

    untold(home, check)


def test_a_status_is_json_with_times_of_one_zone_and_no_value(home: Home) -> None:
    home.vault.put("prod/bot", {"TOKEN": "fake-token-1", "SPARE": "fake-token-9"})

    def check(daemon: Daemon, state: BundleState) -> None:
        state.fail((failure(FailureClass.IDENTITY, secret="prod/bot"),), wall=1_700_000_000.0)
        text = json.dumps(document(daemon.conductor, ["bot"]))
        assert "fake-token" not in text
        bundle = json.loads(text)["bundles"]["bot"]
        assert bundle["failing_since"] == "2023-11-14T22:13:20+00:00"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", bundle["published_at"])
        assert bundle["failures"][0]["failure_class"] == "identity"
        assert bundle["ignored_keys"] == {"prod/bot": ["SPARE"]}
        assert bundle["variables"] == ["TOKEN"]
        assert bundle["secrets"][0]["version_id"] == "v2"

    untold(home, check)


def test_a_journal_that_cannot_be_written_is_a_warning_of_the_status(home: Home) -> None:
    def check(daemon: Daemon, _: BundleState) -> None:
        daemon.conductor.bundles.notebook.problem = "cannot write the journal; free space"
        warnings = document(daemon.conductor, [])["daemon"]["warnings"]  # type: ignore[index]
        assert "cannot write the journal; free space" in warnings

    untold(home, check)


def fell_short(daemon: Daemon, target: int = 1) -> tuple[ExitCode, str]:
    code, lines = shortfall(daemon.conductor, "bot", target) or (ExitCode.OK, [])
    return code, "\n".join(lines)


def test_a_shortfall_names_the_failure_its_fix_and_what_is_kept(home: Home) -> None:
    def check(daemon: Daemon, state: BundleState) -> None:
        state.fail((failure(FailureClass.TRANSIENT), failure(FailureClass.DATA)), wall=0.0)
        code, text = fell_short(daemon)
        assert code is ExitCode.DATA, "the worse of the two"
        assert text.splitlines()[0] == "bot: the last good generation stays"
        assert text.count("  a fake failure\n  fix: wait") == 2
        state.forget()
        assert fell_short(daemon)[1].startswith("bot: nothing is published")

    untold(home, check)


def test_a_shortfall_gives_the_reason_of_the_generation_that_is_published_and_no_other(home: Home) -> None:
    def check(daemon: Daemon, state: BundleState) -> None:
        told(state, FAILED, generation=7)
        assert fell_short(daemon) == (
            ExitCode.TRY_AGAIN,
            f"bot: published, not loaded\n  {UNIT} has not been told yet",
        )
        told(state, FAILED)
        assert fell_short(daemon)[1].endswith("  the job failed\n  fix: see journalctl")
        told(state, UnitReport("failed", "gone"))
        assert fell_short(daemon)[1].endswith("loaded\n  gone"), "no empty advice"
        for outcome, words in (
            ("starting", "has not started"),
            ("confirming", "stay active"),
            ("unacknowledged", "not acknowledged: secretsctl ack"),
        ):
            told(state, UnitReport(outcome, "bot.service is active"))
            assert words in fell_short(daemon)[1]

    untold(home, check)


def test_what_is_loaded_or_gone_or_needs_nobody_falls_short_of_nothing(home: Home) -> None:
    def check(daemon: Daemon, state: BundleState) -> None:
        assert fell_short(daemon, target=2)[0] is ExitCode.TRY_AGAIN
        loaded(state, 1)
        assert shortfall(daemon.conductor, "bot", 1) is None
        assert shortfall(daemon.conductor, "removed-meanwhile", 1) is None

    untold(home, check)


def test_the_status_line_says_what_is_wrong_and_stays_short(home: Home) -> None:
    names = [f"b{number}" for number in range(9)]
    home.configure(*map(a_bundle, names))

    async def scenario() -> None:
        async with Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: all(s.ended for s in daemon.conductor.states.values()))
            states = daemon.conductor.states
            assert status_line(daemon.conductor) == "9 of 9 bundles published"
            states["b0"].fail((failure(FailureClass.REFUSAL),), wall=0.0)
            states["b1"].fail((failure(),), wall=0.0)
            states["b1"].forget()
            told(states["b2"], FAILED)
            assert status_line(daemon.conductor) == (
                "8 of 9 bundles published; b0: fake-refusal, keeping the last good generation; "
                f"b1: fake-transient, nothing published; b2: not loaded by {UNIT}"
            )
            (home.runtime_dir / "b2" / "env").unlink()
            assert "b2: its files were altered on this host" in status_line(daemon.conductor)
            for name in names:
                states[name].fail((failure(),), wall=0.0)
            assert status_line(daemon.conductor).endswith("; and 6 more")

    live(scenario())


def test_a_host_without_bundles_is_told_how_to_add_one(home: Home) -> None:
    home.configure()

    async def scenario() -> None:
        async with Daemon(home, ready=False) as daemon:
            await asyncio.sleep(0)
            assert "conf.d and run systemctl reload secretsd" in status_line(daemon.conductor)

    live(scenario())


@pytest.mark.parametrize(
    "step",
    [
        PublishBundle("bot", 2, "its content changed"),
        KeepStale("bot", (failure(FailureClass.REFUSAL),)),
        RestoreBundle("bot", 1, 2, "its published files were altered"),
        RemoveBundle("bot", "the configuration no longer names it"),
        NotifyUnit("bot", 2, UNIT, "reload"),
    ],
)
def test_every_step_can_be_told_as_json(step: Step) -> None:
    found = json.loads(json.dumps(describe_step(step)))
    assert (found["step"], found["bundle"]) == (type(step).__name__, "bot")
