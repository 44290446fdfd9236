from __future__ import annotations

import signal

import pytest

from secretsd.notify.configured import (
    Action,
    Before,
    NotConfiguredError,
    Reload,
    Restart,
    Signal,
    configured_action,
    configured_before,
)

UNIT = "trading-bot.service"


def tables(*entries: object) -> dict[str, object]:
    return {"bundles": {"trading-bot": {"owner": "trading-bot", "on_change": list(entries)}}}


def action_of(*entries: object, unit: str = UNIT) -> Action:
    return configured_action(tables(*entries), bundle="trading-bot", unit=unit)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"action": "reload"}, Reload()),
        ({"action": "restart", "confirm": "10s"}, Restart()),
        ({"action": "signal", "signal": "SIGHUP"}, Signal(signal.SIGHUP)),
        ({"action": "signal", "signal": "SIGUSR1"}, Signal(signal.SIGUSR1)),
    ],
)
def test_the_action_is_the_one_that_the_configuration_names(entry: dict[str, str], expected: Action) -> None:
    assert action_of({"unit": "other.service", "action": "restart"}, {"unit": UNIT, **entry}) == expected


@pytest.mark.parametrize(
    "entry",
    [
        {"action": "none"},
        {"action": "start"},
        {"action": "stop"},
        {"action": ["reload"]},
        {},
        {"action": "signal"},
        {"action": "signal", "signal": "SIGKILL"},
        {"action": "signal", "signal": "SIGSTOP"},
        {"action": "signal", "signal": "SIGSEGV"},
        {"action": "signal", "signal": 9},
        {"action": "signal", "signal": "HUP"},
        {"action": "reload", "signal": "SIGHUP"},
    ],
)
def test_an_entry_that_names_no_allowed_action_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(NotConfiguredError):
        action_of({"unit": UNIT, **entry})


@pytest.mark.parametrize(
    "unit",
    [
        "trading-bot",
        "*.service",
        "trading-bo[t].service",
        "bot@.service",
        "-H.service",
        "@x.service",
        ".service",
        "a/b.service",
        "basic.target",
        "dbus.socket",
        "x" * 250 + ".service",
    ],
)
def test_a_name_that_systemctl_could_read_otherwise_is_refused_though_configured(unit: str) -> None:
    with pytest.raises(NotConfiguredError, match="service"):
        action_of({"unit": unit, "action": "restart"}, unit=unit)


@pytest.mark.parametrize("unit", ["bot@one.service", "a-b_c.d:e.service", r"dev-disk\x2dby.service"])
def test_full_names_of_services_are_accepted(unit: str) -> None:
    assert action_of({"unit": unit, "action": "restart"}, unit=unit) == Restart()


def test_a_unit_of_another_bundle_is_refused() -> None:
    merged = {"bundles": {"a": {"on_change": [{"unit": UNIT, "action": "restart"}]}, "b": {}}}
    with pytest.raises(NotConfiguredError):
        configured_action(merged, bundle="b", unit=UNIT)


def test_a_unit_that_is_named_twice_is_refused() -> None:
    with pytest.raises(NotConfiguredError, match="2 times"):
        action_of({"unit": UNIT, "action": "reload"}, {"unit": UNIT, "action": "restart"})


@pytest.mark.parametrize(
    "broken",
    [
        {},
        [],
        None,
        {"bundles": []},
        {"bundles": {"trading-bot": 1}},
        {"bundles": {"trading-bot": {"on_change": {"unit": UNIT}}}},
        {"bundles": {"trading-bot": {"on_change": [UNIT, 1, None]}}},
    ],
)
def test_tables_of_an_unexpected_shape_allow_nothing(broken: object) -> None:
    with pytest.raises(NotConfiguredError):
        configured_action(broken, bundle="trading-bot", unit=UNIT)


FLAT = ["/usr/local/bin/is-flat", "--bot", ""]


def before_of(owner: object = "trading-bot", **keys: object) -> Before:
    merged = {"bundles": {"b": {"owner": owner, "on_change": [{"unit": UNIT, "action": "reload", **keys}]}}}
    return configured_before(merged, bundle="b", unit=UNIT)


def test_before_is_run_as_the_owner_for_thirty_seconds_or_as_long_as_it_says() -> None:
    assert before_of(before=FLAT) == Before("trading-bot", tuple(FLAT), 30.0)
    assert before_of(before=FLAT, before_timeout="1m 30s").timeout_s == 90.0


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"before": []},
        {"before": "/bin/true"},
        {"before": ["is-flat"]},
        {"before": ["../is-flat"]},
        {"before": ["-x"]},
        {"before": ["/bin/true", 1]},
        {"before": ["/bin/true", "a\0b"]},
        {"before": ["/bin/true", "a\nb"]},
        {"before": {"/bin/true": 1}},
        {"before": FLAT, "before_timeout": 30},
        {"before": FLAT, "before_timeout": "0"},
        {"before": FLAT, "before_timeout": "soon"},
        {"before": FLAT, "before_timeout": "301s"},
        {"before": FLAT, "owner": None},
        {"before": FLAT, "owner": ""},
        {"before": FLAT, "owner": 0},
    ],
)
def test_a_before_that_is_not_fit_to_be_run_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(NotConfiguredError):
        before_of(**keys)
