"""What an operator sees: each kind of trouble with its reason and its fix, and nothing that is not so."""

from __future__ import annotations

import copy
import re

import pytest

from secretsd.cli.screens import cost, diff, history, plan, status, usage
from secretsd.cli.text import View, clean, width
from tests.cli import documents
from tests.cli.documents import NOW, Document, bundle, failing, failure, later, unit

PLAIN = View(NOW)
NARROW = View(NOW, columns=80)
COLOR = View(NOW, columns=200, color=True)


def row(screen: str, name: str) -> str:
    """The line of the table that begins with `name`."""
    (line,) = [line for line in screen.splitlines() if line.startswith(f"{name}  ")]
    return line


def overview(view: View = PLAIN, **bundles: Document) -> str:
    return status.all_bundles(documents.status(bundles), view)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "loaded"),
        ({"hold": documents.hold()}, "loaded, held"),
        ({"hold": documents.rollback()}, "loaded, rolled back"),
        ({"failures": [failure()], "state": "published"}, "published, failing"),
        ({"failures": [failure()], "hold": documents.hold()}, "loaded, held, failing"),
        ({"state": "missing", "generation": None, "published_at": None}, "missing"),
        ({"failures": [failure()], "sealed": documents.sealed()}, "loaded, sealed, failing"),
        ({"sealed": documents.sealed(in_use=False)}, "loaded"),
    ],
)
def test_the_state_says_what_is_loaded_held_and_failing(fields: Document, words: str) -> None:
    assert re.split(r"\s{2,}", row(overview(bot=bundle(**fields)), "bot"))[1] == words


def test_bundles_in_trouble_come_first_and_are_counted() -> None:
    fine = {f"fine-{number:03}": bundle() for number in range(198)}
    held = {"a-held": bundle(hold=documents.hold())}
    screen = overview(**fine, **held, **{"z-failing": failing()})
    lines = screen.splitlines()
    assert lines[1] == "200 bundles: 1 failing, 1 held, 198 loaded"
    names = [line.split()[0] for line in lines[4:204]]
    assert names[:3] == ["z-failing", "a-held", "fine-000"]
    assert len(lines) < 220, "what is fine takes one line"


def test_an_outage_that_hits_every_bundle_is_told_once() -> None:
    bundles = {f"bot-{number}": failing() for number in range(200)}
    screen = overview(**bundles)
    assert screen.count("fix: correct the secret") == 1
    assert "bot-0, bot-1, bot-10, bot-100, bot-101 and 195 more: data, rule-broken, since 30m ago" in screen


def test_an_outage_is_told_once_though_each_bundle_has_a_secret_of_its_own() -> None:
    def out(secret: str, failure_class: str) -> Document:
        words = {"code": "unreachable", "message": f"no way to {secret}", "advice": "see the route"}
        return bundle(failures=[failure(failure_class=failure_class, secret=secret, **words)])

    screen = overview(**{f"bot-{n}": out(f"prod/{n}", "transient") for n in range(3)})
    assert screen.count("fix: see the route") == 1
    assert "bot-0, bot-1, bot-2: transient, unreachable" in screen
    assert "  no way to prod/0 and 2 more\n" in screen
    assert "  no way to prod/7\n" in overview(bot=out("prod/7", "transient"))
    refused = overview(**{f"bot-{n}": out(f"prod/{n}", "refusal") for n in range(3)})
    assert refused.count("fix: see the route") == 3, "a refusal is of one secret, and each is named"


def test_a_failure_says_what_stays_and_what_to_do() -> None:
    screen = overview(bot=failing(), new=failing(generation=None, state="missing"))
    assert "bot: data, rule-broken, since 30m ago; the last good generation stays" in screen
    assert "new: data, rule-broken, since 30m ago; nothing is published" in screen
    assert "  fix: correct the secret, then: secretsctl reload trading-bot" in screen


def test_a_unit_that_has_not_loaded_says_why_and_one_that_is_fine_does_not() -> None:
    failed = unit(state="failed", message="its job failed", advice="journalctl -u trading-bot")
    screen = overview(bot=bundle(state="published", units=[failed]), ok=bundle(units=[unit(message="old")]))
    assert "bot: trading-bot.service has not loaded generation 7" in screen
    assert "  its job failed\n  fix: journalctl -u trading-bot" in screen
    assert "old" not in screen
    assert screen.splitlines()[1] == "2 bundles: 1 not loaded, 1 loaded"


def test_a_unit_that_waits_for_its_window_says_until_when() -> None:
    waiting = unit(state="waiting for window", until=later(hours=3), message="told from 06:00 to 06:30")
    screen = overview(bot=bundle(state="published", units=[waiting]))
    assert "trading-bot.service waiting for window, in 3h" in row(screen, "bot")
    assert "  told from 06:00 to 06:30 (in 3h)" in screen


def test_a_unit_that_has_waited_for_too_long_is_trouble() -> None:
    overdue = unit(state="waiting for before", overdue=True, message="drain.sh has not succeeded for 2h")
    screen = overview(COLOR, late=bundle(state="published", units=[overdue]))
    assert "1 bundle: 1 not loaded" in screen
    assert "trading-bot.service waiting for before, overdue" in screen
    assert "\x1b[31mpublished\x1b[0m" in screen


def test_many_units_are_counted_and_those_in_trouble_are_named() -> None:
    units = [unit(), unit(unit="b.service", state="failed"), unit(unit="c.service"), unit(state="inactive")]
    assert row(overview(bot=bundle(units=units)), "bot").endswith("b.service failed, 2 loaded, 1 inactive")


def test_a_hold_says_since_when_by_whom_why_and_what_waits() -> None:
    screen = overview(bot=bundle(hold=documents.rollback()))
    assert (
        "bot: rolled back from generation 7 to 8, 2h ago, by uid 0: until the market closes\n"
        f"  waiting in the source: prod/bybit/api (version {documents.VERSION_2})\n"
        "  to end it: secretsctl resume bot" in screen
    )


def test_what_came_from_a_sealed_copy_says_how_old_it_is_and_what_it_does_not_hold_against() -> None:
    screen = status.one_bundle(documents.status({"bot": failing(sealed=documents.sealed())}), PLAIN)
    assert "it is what is published: no source has answered since; confirmed 5h ago" in screen
    assert "a boot takes it until 2026-03-07 12:00:00" in screen
    assert "restoring an older state of this disk would bring back an older copy" in screen
    assert "what came from the sealed copy stays" in screen


def test_a_sealed_copy_that_a_boot_would_refuse_is_not_said_to_be_taken() -> None:
    over = documents.sealed(in_use=False, until=documents.ago(hours=1))
    screen = status.one_bundle(documents.status({"bot": bundle(sealed=over)}), PLAIN)
    assert "a boot has refused it since 2026-" in screen
    assert "takes it" not in screen


def test_a_sealed_copy_that_is_not_there_or_was_not_made_says_so() -> None:
    none = documents.sealed(in_use=False, confirmed_at=None, until=None)
    screen = status.one_bundle(documents.status({"bot": bundle(sealed=none)}), PLAIN)
    assert "there is none yet" in screen
    failed = {**none, "problem": "the disk is full"}
    screen = status.one_bundle(documents.status({"bot": bundle(sealed=failed)}), PLAIN)
    assert "not made: the disk is full" in screen
    assert "there is none yet" not in screen


def test_a_hold_over_a_reboot_names_no_generation_before_there_is_one() -> None:
    for hold in (documents.rollback(), {**documents.rollback(), "kind": "hold"}):
        screen = overview(bot=bundle(hold={**hold, "generation": None}))
        assert "a version that is not published yet, 2h ago" in screen
        assert "None" not in screen


def test_drift_of_late_is_told_and_drift_of_long_ago_only_in_detail() -> None:
    late = bundle(drift=documents.drift())
    old = bundle(drift=documents.drift(last_at=documents.ago(days=30)))
    told = "altered on this host 2 times, last 9m ago, repaired"
    assert f"bot: {told}\n  env: mode is 0644, was published as 0600" in overview(bot=late)
    assert "altered on this host" not in overview(bot=old)
    assert "altered on this host" in status.one_bundle(documents.status({"bot": old}), PLAIN)


def test_one_bundle_is_shown_in_full() -> None:
    screen = status.one_bundle(clean(documents.everything()), PLAIN)
    for words in (
        "trading-bot: loaded, rolled back, failing",
        "generation     7, 4m 10s ago (2026-03-01 11:55:50 UTC)",
        "next refresh   in 3m 12s",
        "variables      BYBIT_API_KEY, BYBIT_API_SECRET, MAX_POSITION_SIZE",
        "defaults       MAX_POSITION_SIZE",
        "not published  old_key (of prod/bybit/api",
        "env: mode is 0644, was published as 0600",
        documents.VERSION_1,
        "the bot re-reads its file",
    ):
        assert words in screen


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    view = View(NOW, columns=columns)
    screens = [
        status.all_bundles(documents.everything(), view),
        plan.screen(documents.PLAN, view),
        diff.screen(documents.DIFF, view),
        history.screen(documents.HISTORY, view),
        cost.screen(documents.COST, view),
    ]
    if columns >= 80:
        screens.append(status.one_bundle(documents.everything(), view))
    longest_word = 37  # a version's id: cut in two nobody could copy it
    for line in "\n".join(screens).splitlines():
        assert width(line) <= max(columns, longest_word + 4), line


def test_a_narrow_terminal_loses_the_columns_that_matter_least() -> None:
    bundles = {"trading-bot": failing(state="published", units=[unit(unit="market-maker.service")])}
    heads = [overview(View(NOW, columns=columns), **bundles).splitlines()[3] for columns in (94, 93, 80)]
    assert [head.split() for head in heads] == [
        ["BUNDLE", "STATE", "GEN", "PUBLISHED", "CONFIRMED", "NEXT", "UNITS"],
        ["BUNDLE", "STATE", "GEN", "PUBLISHED", "NEXT", "UNITS"],
        ["BUNDLE", "STATE", "GEN", "PUBLISHED", "UNITS"],
    ]


def test_one_bundle_with_much_to_say_costs_the_others_nothing() -> None:
    words = "waiting for " + "its " * 3 + "turn"
    fine = {f"bot-{number}": bundle(units=[unit(unit=f"bot-{number}.service")]) for number in range(20)}
    screen = overview(NARROW, **fine, long=bundle(units=[unit(unit="a-very-long-name.service", state=words)]))
    assert "CONFIRMED" in screen
    assert row(screen, "bot-1").endswith("in 3m  loaded")
    assert f"\n    a-very-long-name.service {words}" in screen


def test_colour_follows_the_state() -> None:
    screen = overview(COLOR, bad=failing(), good=bundle(), held=bundle(hold=documents.hold()))
    assert "\x1b[31mloaded, failing\x1b[0m" in screen
    assert "\x1b[33mloaded, held\x1b[0m" in screen
    assert "\x1b[32mloaded\x1b[0m" in screen
    assert "\x1b" not in overview(NARROW, bad=failing())


def test_a_host_without_bundles_is_told_where_to_read() -> None:
    assert overview().endswith("no bundles are configured: see secretsd(8)")


def test_a_daemon_of_another_version_is_shown_as_far_as_it_goes() -> None:
    older = documents.without(documents.everything(), "hold", "drift", "defaults", "ignored_keys", "units")
    assert "loaded, failing" in status.all_bundles(older, PLAIN)
    assert "trading-bot" in status.one_bundle(older, PLAIN)
    newer = documents.status({"bot": bundle(state="dreaming", units=[unit(state="waiting for godot")])})
    assert "1 bundle: 1 dreaming" in status.all_bundles(newer, PLAIN)
    assert status.all_bundles({"bundles": {"bot": {}}}, PLAIN)
    assert status.one_bundle({"bundles": {"bot": {}}}, PLAIN)
    step = {"step": "DreamOf", "bundle": "bot", "waiting": "prod/bot"}
    assert plan.screen({"steps": [step]}, PLAIN) == "DreamOf  bot: waiting prod/bot"
    for screen in (diff.screen, history.screen):
        assert screen({"bundle": "bot"}, PLAIN)


def test_a_plan_has_a_line_for_each_step() -> None:
    screen = plan.screen(documents.PLAN, PLAIN)
    assert [line.split()[0] for line in screen.splitlines() if not line.startswith(" ")] == [
        *("publish", "notify", "notify", "notify", "keep", "keep", "restore", "unseal", "hold", "remove")
    ]
    assert "fix: correct the secret" in screen
    assert "mm.service of maker generation 8: reload\n" in screen
    assert (
        "slow.service of maker generation 8: reload, waits for window until 2026-03-02 02:00:00 UTC" in screen
    )
    assert "flat.service of maker generation 8: reload, once its before agrees\n" in screen
    assert plan.screen({"steps": []}, PLAIN) == "nothing to do"


def test_a_difference_is_told_by_name_and_none_as_none() -> None:
    document = {**documents.DIFF, "failures": []}
    lines = diff.screen(document, PLAIN).splitlines()
    assert lines[0] == "trading-bot: what publishing would do: 1 added, 2 changed, 1 removed"
    assert lines[1:5] == [
        *("  add     SLACK_WEBHOOK", "  change  BYBIT_API_KEY", "  change  BYBIT_API_SECRET"),
        "  remove  OLD_NAME",
    ]
    assert "  env: mode is 0644, was published as 0600" in lines
    none = {**document, "added": [], "changed": [], "removed": [], "files": []}
    assert diff.screen(none, PLAIN).startswith("trading-bot: the source holds what is published")


def test_a_source_that_cannot_be_compared_with_says_so_first() -> None:
    lines = diff.screen(documents.DIFF, PLAIN).splitlines()
    assert lines[0] == "trading-bot: nothing can be published now, see below"
    assert "  fix: correct the secret, then: secretsctl reload trading-bot" in lines


def test_a_history_says_what_can_be_rolled_back_to_and_what_is_held() -> None:
    screen = history.screen(documents.HISTORY, PLAIN)
    assert "  8  published  2h ago     rolled back, copy of 6, by uid 0  prod/bybit/api 11111111" in screen
    assert "rolled back from generation 7 to 8" in screen
    assert "secretsctl rollback trading-bot --to GEN" in screen
    only = copy.deepcopy(documents.HISTORY)
    only["generations"] = only["generations"][:1]
    assert "--to GEN" not in history.screen(only, PLAIN)
    assert history.screen({**only, "generations": []}, PLAIN).endswith(
        "nothing was published on this host yet"
    )


def test_a_unit_that_is_named_like_its_bundle_is_not_named_twice() -> None:
    screen = overview(**{"trading-bot": bundle(), "other": bundle()})
    assert row(screen, "trading-bot").endswith("in 3m  loaded")
    assert row(screen, "other").endswith("in 3m  trading-bot.service loaded")


def test_a_source_that_is_away_or_silent_is_said_above_all_bundles() -> None:
    east = documents.failing_endpoint()
    west = documents.endpoint(endpoint="secretsmanager us-west-2", region="us-west-2")
    aws = documents.source(
        region="us-west-2", away_since=documents.ago(hours=7), clock_skew_s=903.0, endpoints=[east, west]
    )
    document = documents.status()
    document["sources"] = {"aws": aws, "vault": documents.source()}
    head = status.all_bundles(document, PLAIN).split("\n\n")[0].splitlines()
    assert head[1:4] == [
        "source aws: asked in us-west-2 since 7h ago, us-east-1 does not answer",
        "source aws: secretsmanager us-east-1 failed 91 times in a row, first 7h ago (unreachable),"
        " asked again in 41s",
        "source aws: this host's clock is 15m 3s ahead of its clock",
    ]
    assert "vault" not in "\n".join(head)


def test_what_is_too_old_to_start_on_is_said_in_one_word_and_with_its_limit() -> None:
    old = documents.bundle(max_age_s=259200.0, too_old=True, confirmed_at=documents.ago(days=4))
    assert "loaded, too old" in status.all_bundles(documents.status({"bot": old}), PLAIN)
    shown = status.one_bundle(documents.status({"bot": old}), PLAIN)
    assert "(max_age 3d: no unit starts on it any more)" in shown
    for screen in (shown, overview(bot=old)):
        assert "  fix: to start one all the same: wait --allow-stale in its ExecStartPre=" in screen
    assert "--allow-stale" not in overview(bot=bundle(max_age_s=259200.0))


def test_cost_says_what_is_paid_for_how_sure_that_is_and_what_would_be_less() -> None:
    lines = cost.screen(documents.COST, PLAIN).splitlines()
    assert lines[1].split("  ") == [
        *("aws", "", " aws-secretsmanager", "20,161", "28,800", "864,012", "$4.32"),
        "$16.00 for 20 + 20 replicas",
    ]
    assert lines[2].split() == ["files", "file", "0", "-", "-", "$0.00", "1"]
    assert lines[3].split()[2:] == ["3", "-", "-", "-", "$0.40", "for", "1"]
    assert lines[4:8] == [
        "aws: its calls were counted for 9h only; a day and a month are reckoned from that",
        'aws: with refresh_interval = "15m" instead of 1m its calls cost $3.96 less a month',
        "aws: with push (new versions in about a second, a refresh every 30m) its calls cost $0.01 more a"
        " month",
        "new: its calls were counted for 12m: what a day takes is told after an hour",
    ]
    assert "us-east-1 of 2026-11" in lines[-1]


def test_a_cost_that_is_no_different_is_called_the_same_and_no_source_has_a_screen_too() -> None:
    document = copy.deepcopy(documents.COST)
    document["sources"]["aws"]["savings"][1]["usd"] = 0.0
    assert "a refresh every 30m) it costs the same" in cost.screen(document, PLAIN)
    assert cost.screen({"sources": {}}, PLAIN).startswith("no sources")
    assert cost.screen({"sources": {"aws": {}}}, PLAIN)


def test_a_unit_that_was_not_running_is_named_where_else_nobody_would_be() -> None:
    """A bot that starts after the publish has the secret, and must not look as if it could be removed."""
    rows = [" ".join(line.split()) for line in usage.screen(documents.USAGE, NARROW).splitlines()]
    assert rows[rows.index("old (aws) 0 never read") + 1] == "old-bot.service 0 was not running"
