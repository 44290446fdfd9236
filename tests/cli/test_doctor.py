"""`secretsctl doctor` without a machine: what it says of units, kernels and a daemon that is down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from secretsd.cli import doctor, local_checks, unit_checks
from secretsd.cli.main import run
from secretsd.cli.text import View
from secretsd.config.models import Bundle, Config, OnChange
from secretsd.control.check import Check, decoded, encoded, exit_code, fail, ok, published, warn
from secretsd.control.source_checks import source_checks
from secretsd.errors import ExitCode
from secretsd.model import SourceView
from secretsd.notify.units import UnitState
from secretsd.refresh.examination import Findings

UNIT = "bot.service"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
STATE = UnitState(
    unit=UNIT,
    load_state="loaded",
    active_state="active",
    sub_state="running",
    type="notify",
    main_pid=0,
    invocation="",
    can_reload=True,
    result="success",
    restarts=0,
    left_inactive_s=0.0,
    main_started_s=0.0,
    main_exited_s=0.0,
    main_code="",
    main_status="",
)
WELL = {
    "ExecStartPre": "{ path=/usr/bin/secretsctl ; argv[]=/usr/bin/secretsctl wait bot --timeout 20s ; }",
    "EnvironmentFiles": "/run/secretsd/bot/env (ignore_errors=yes)",
    "User": "bot",
}
BUNDLE = Bundle.model_validate({"owner": "bot", "secrets": [{"source": "aws", "id": "x", "variable": "A"}]})


AWS = Config.model_validate({"sources": {"aws": {"type": "aws-secretsmanager"}}})


def judged(state: UnitState = STATE, action: str = "reload", **more: str) -> list[Check]:
    entry = OnChange.model_validate({"unit": UNIT, "action": action})
    return list(unit_checks.judge("bot", BUNDLE, entry, state, {**WELL, **more}, "/run/secretsd"))


def test_a_unit_as_the_manual_has_it_is_well() -> None:
    assert judged() == []
    assert judged(action="restart") == []


@pytest.mark.parametrize(
    ("checks", "state", "detail", "fix"),
    [
        (judged(replace(STATE, load_state="not-found")), "fail", "does not exist", "install the unit"),
        (judged(replace(STATE, load_state="masked")), "fail", "is masked", "systemctl unmask bot.service"),
        (judged(replace(STATE, load_state="bad-setting")), "fail", "bad-setting", "systemd-analyze verify"),
        (judged(replace(STATE, active_state="failed")), "warn", "has failed", "systemctl start bot.service"),
        (judged(replace(STATE, can_reload=False)), "fail", "no ExecReload=", "ExecReload="),
        (judged(replace(STATE, type="exec")), "warn", "Type=exec", "Type=notify"),
        (judged(ExecStartPre=""), "warn", "starts without waiting", "/usr/bin/secretsctl wait bot"),
        (
            judged(EnvironmentFiles="/etc/x (ignore_errors=no) /run/secretsd/bot/env (ignore_errors=no)"),
            "warn",
            "/run/secretsd/bot/env is not there yet",
            "EnvironmentFile=-/run/secretsd/bot/env",
        ),
        (judged(User="other"), "warn", "runs as other", "User=bot"),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_with_a_unit_has_its_fix(
    checks: list[Check], state: str, detail: str, fix: str
) -> None:
    (check,) = checks
    assert check.state == state
    assert detail in check.detail
    assert fix in check.fix


def test_a_unit_that_is_restarted_need_not_listen() -> None:
    assert judged(replace(STATE, type="exec", can_reload=False), action="restart", User="other") == []


@pytest.mark.parametrize(
    ("release", "told"),
    [
        (
            "6.1.0-28",
            "no tmpfs noswap (6.4): ramfs is used, no SO_PEERPIDFD (6.5): SO_PEERCRED is used",
        ),
        ("6.4.2", "tmpfs noswap, no SO_PEERPIDFD (6.5): SO_PEERCRED is used"),
        ("6.12.48+deb13-amd64", "tmpfs noswap, SO_PEERPIDFD"),
        ("10.0", "tmpfs noswap, SO_PEERPIDFD"),
    ],
)
def test_kernels(release: str, told: str) -> None:
    check = local_checks.kernel(release)
    assert (check.state, check.detail) == ("ok", f"Linux {release}: {told}")


CHECKS = [
    ok("config", "fine"),
    warn("clock aws", "your clock is 2 min 0 s ahead", "set it"),
    fail("secret x", "denied", "allow it", ExitCode.REFUSED),
    fail("space", "full", "free some", ExitCode.IO),
]


def test_lines_are_aligned_and_fixes_stand_below_them() -> None:
    assert doctor.screen(CHECKS, View(NOW)).splitlines() == [
        "ok    config     fine",
        "warn  clock aws  your clock is 2 min 0 s ahead",
        "                 fix: set it",
        "fail  secret x   denied",
        "                 fix: allow it",
        "fail  space      full",
        "                 fix: free some",
    ]


def test_a_narrow_terminal_and_a_name_as_long_as_an_arn_still_make_columns() -> None:
    long = fail("secret " + "x" * 90, "denied", "allow it, and then do many more things", ExitCode.REFUSED)
    lines = doctor.screen([ok("config", "fine"), long], View(NOW, columns=72)).splitlines()
    assert lines[0] == f"ok    {'config':<40}  fine"
    assert lines[1].endswith("x  denied")
    assert all(line.startswith(" " * 48) for line in lines[2:])
    assert len(lines) > 3, "the fix is wrapped"


def test_colour_is_on_the_word_alone_and_names_cannot_steer_the_terminal() -> None:
    text = doctor.screen([*CHECKS, ok("secret \x1b[2J", "a\nb")], View(NOW, color=True))
    assert "\x1b[32mok  \x1b[0m" in text
    assert "\x1b[33mwarn\x1b[0m" in text
    assert "\x1b[31mfail\x1b[0m" in text
    assert "\x1b[2J" not in text
    assert len(text.splitlines()) == 8
    assert "\x1b" not in doctor.screen(CHECKS, View(NOW))


def test_the_exit_code_is_the_worst_of_what_failed() -> None:
    assert exit_code(CHECKS) is ExitCode.REFUSED
    assert exit_code(CHECKS[:2]) is ExitCode.OK
    assert exit_code([]) is ExitCode.OK


def test_checks_come_through_the_socket_whole_and_programs_see_four_keys() -> None:
    assert decoded(json.loads(json.dumps(encoded(CHECKS)))) == CHECKS
    document = published(CHECKS)
    assert document["schema"] == 1
    assert document["checks"][1] == {  # type: ignore[index]
        "check": "clock aws",
        "state": "warn",
        "detail": "your clock is 2 min 0 s ahead",
        "fix": "set it",
    }


@pytest.mark.parametrize(
    ("skew_s", "state", "detail"),
    [
        (903.4, "fail", "your clock is 15 min 3 s ahead of its: it refuses what is 5 min off"),
        (-903.4, "fail", "your clock is 15 min 3 s behind its: it refuses what is 5 min off"),
        (-90.0, "warn", "your clock is 1 min 30 s behind its: from 5 min on it refuses"),
        (0.2, "ok", "your clock agrees within 1 s"),
    ],
)
def test_the_clock(skew_s: float, state: str, detail: str) -> None:
    found = Findings({}, SourceView(skew_s=skew_s))
    clock = {check.check: check for check in source_checks("aws", AWS, found, now=0.0)}["clock aws"]
    assert (clock.state, clock.detail) == (state, detail)


def test_role_credentials_say_how_long_they_live() -> None:
    found = Findings({}, SourceView(method="iam-role", expires_at=20_460.0))
    (check,) = source_checks("aws", AWS, found, now=60.0)
    assert check.detail == "found: iam-role, for 5 h 40 min more, and renewed before that"


def test_a_daemon_in_the_foreground_that_is_down_and_a_configuration_with_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "secretsd.toml"
    (tmp_path / "run").mkdir()
    config.write_text(f'[daemon]\nruntime_dir = "{tmp_path}/run"\nstate_dir = "{tmp_path}/state"\n')
    assert run(["doctor", "--config", str(config)]) == ExitCode.TRY_AGAIN
    told = capsys.readouterr().out
    assert f"fix: start it: secretsd --config {config}" in told
    assert "names no bundle" in told
    assert "kernel" in told

    signer = '[signer]\nmodule = "/usr/lib/fake.so"\ntoken = "fake"\npin = "credential:hsm-pin"\n'
    (tmp_path / "signing.toml").write_text(f"{config.read_text()}{signer}")
    only_signs, found = local_checks.configuration(tmp_path / "signing.toml")
    assert only_signs.signer is not None
    assert [check.state for check in found] == ["ok"], "a host that only signs has nothing to add"

    config.write_text(config.read_text() + "[bundles.x]\nownr = 1\n")
    assert run(["doctor", "--config", str(config), "--json"]) == ExitCode.CONFIG
    checks = json.loads(capsys.readouterr().out)["checks"]
    mistakes = [check for check in checks if check["check"] == "config"]
    assert len(mistakes) >= 2, "a line for each mistake"
    assert any("did you mean 'owner'" in check["detail"] for check in mistakes)
