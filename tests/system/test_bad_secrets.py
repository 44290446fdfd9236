"""Secrets that do not fit: their bundle keeps its last good generation and says why; others go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.lab.aws import FakeAws
from tests.lab.faults import RefuseIds
from tests.system.machine import Machine, on_bookworm

pytestmark = pytest.mark.system

_GOOD = {"API_KEY": "fake-key-1"}

_BUNDLE = """
[bundles.{name}]
owner = "bot"
secrets = [{{ source = "aws", id = "{name}/production"{how} }}]
variables = {{ API_KEY = {{ min_length = 4 }} }}
"""


@dataclass(frozen=True, slots=True)
class _BadSecret:
    """What becomes of the secret, and what is said: class, code, and whether the variable is named."""

    name: str
    spoil: Callable[[FakeAws, str], object]
    failure_class: str
    code: str
    variable: str | None = None
    good: dict[str, object] | str | bytes | None = None  # what it holds before; None: the usual object


def _value(value: dict[str, object] | str | bytes) -> Callable[[FakeAws, str], object]:
    return lambda aws, name: aws.put(name, value)


# moto tells of a secret without a value as of one that is missing; these are AWS's own words.
_VALUELESS = RefuseIds(
    frozenset({"valueless/production"}),
    "ResourceNotFoundException",
    "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
)


_WHOLE = "fake-key-1"
_BAD_SECRETS = (
    _BadSecret("missing", lambda aws, name: aws.delete(name, at_once=True), "refusal", "secret-missing"),
    _BadSecret("deleted", lambda aws, name: aws.delete(name), "refusal", "secret-deleted"),
    _BadSecret("valueless", lambda aws, name: None, "data", "secret-empty"),
    _BadSecret("empty", _value({"API_KEY": ""}), "data", "rule-broken", "API_KEY"),
    _BadSecret("binary", _value(b"\x00\x01" + MARKER.encode()), "data", "not-an-object"),
    _BadSecret("text", _value(MARKER), "data", "not-an-object"),
    _BadSecret("list", _value(f'["{MARKER}"]'), "data", "not-an-object"),
    _BadSecret("torn", _value('{"API_KEY": "' + MARKER), "data", "not-an-object"),
    _BadSecret("keyless", _value({"OTHER": MARKER}), "data", "variable-missing", "API_KEY"),
    _BadSecret("null", _value('{"API_KEY": null}'), "data", "variable-missing", "API_KEY"),
    _BadSecret("nested", _value({"API_KEY": {"key": MARKER}}), "data", "nested-value", "API_KEY"),
    _BadSecret(
        "twice", _value('{"API_KEY": "fake-a", "API_KEY": "fake-b"}'), "data", "duplicate-key", "API_KEY"
    ),
    _BadSecret("short", _value({"API_KEY": "abc"}), "data", "rule-broken", "API_KEY"),
    _BadSecret("nul", _value({"API_KEY": f"{MARKER}\0"}), "data", "unwritable", "API_KEY"),
    _BadSecret("surrogate", _value('{"API_KEY": "fake\\ud800"}'), "data", "not-utf8", "API_KEY"),
    _BadSecret("latin", _value(MARKER.encode() + b"\xff"), "data", "rule-broken", "API_KEY", _WHOLE),
    _BadSecret("huge", _value("x" * 65_537), "data", "too-large", None, _WHOLE),
)


@on_bookworm
def test_bad_secret_keeps_its_bundle_as_it_was_names_itself_and_leaves_the_others_alone(
    machine: Machine,
) -> None:
    machine.host.sh("useradd --system bot")
    text = _BUNDLE.format(name="good", how="")
    machine.aws.create("good/production", _GOOD)
    for bad in _BAD_SECRETS:
        machine.aws.create(f"{bad.name}/production", bad.good or _GOOD)
        text += _BUNDLE.format(name=bad.name, how=', variable = "API_KEY"' if bad.good else "")
    machine.host.put("/etc/secretsd/conf.d/bundles.toml", text)
    machine.restart_secretsd()
    assert machine.reload_secretsd() == 0
    before = {
        bad.name: machine.host.sh(f"stat -L -c %i%Z /run/secretsd/{bad.name}/env") for bad in _BAD_SECRETS
    }

    for bad in _BAD_SECRETS:
        bad.spoil(machine.aws, f"{bad.name}/production")
    machine.aws.put("good/production", {"API_KEY": "fake-key-2"})
    machine.proxy.set(_VALUELESS)
    code, said = machine.secretsctl("reload")
    assert code == 77, "the worst of them"
    assert "fake-key-2" in machine.host.read("/run/secretsd/good/env")
    for bad in _BAD_SECRETS:
        status = machine.status(bad.name)
        (failure,) = status["failures"]
        assert (failure["failure_class"], failure["code"]) == (bad.failure_class, bad.code), bad.name
        assert failure["secret"] == f"{bad.name}/production"
        assert failure["variable"] == bad.variable
        assert f"{bad.name}/production" in failure["message"]
        assert failure["advice"]
        assert f"{bad.name}/production" in said
        assert status["generation"] == 1
        assert machine.host.sh(f"stat -L -c %i%Z /run/secretsd/{bad.name}/env") == before[bad.name]
    everything = said + machine.secretsctl("status", "--json")[1] + machine.secretsctl("plan", "--json")[1]
    assert not shows(everything), "the gate looks at the rest"

    machine.proxy.clear()
    for bad in _BAD_SECRETS:
        if bad.name == "deleted":
            machine.aws.restore("deleted/production")
        elif bad.name == "missing":
            machine.aws.create("missing/production", _GOOD)
        else:
            machine.aws.put(f"{bad.name}/production", bad.good or _GOOD)
    assert machine.reload_secretsd() == 0
