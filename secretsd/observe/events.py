"""An event as the alert command reads it: one JSON object. docs/alerts.md has its fields. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from secretsd.moments import iso
from secretsd.observe.conditions import AGE, FILES, QUIET_S
from secretsd.observe.telling import REFRESH, UNUSUAL, Event, Trouble
from secretsd.refresh.state import BundleState

SCHEMA = 1

_NAMED = 5  # of the bundles that share a trouble, in the sentence; the field has all


def document(event: Event, states: Mapping[str, BundleState], *, host: str, now: float) -> dict[str, object]:
    """The event with every field, None where one says nothing; `now` is in seconds since the epoch."""
    condition, trouble = event.condition, event.trouble
    if trouble == UNUSUAL:
        return _unusual(event, host=host, now=now)
    state = states.get(trouble.bundle)
    common = _common(event.event, trouble.bundle, host=host, now=now)
    common |= {"unit": _unit(trouble), "trouble": str(trouble), "suppressed": event.suppressed}
    common["also"] = [str(each.trouble) for each in event.also]
    others = _others([each.trouble.bundle for each in event.also])
    if condition is not None:
        return common | {
            "generation": condition.generation,
            "class": condition.failure_class,
            "code": condition.code,
            "message": condition.message + others,
            "advice": condition.advice,
            "since": iso(condition.since),
        }
    was = event.was
    return common | {
        "generation": state.record.generation if state and state.record else None,
        "message": f"{_over(trouble, state)}; it was {was.event}: {was.message}{others}" if was else "",
        "since": iso(was.since) if was else None,
        "was": was.event if was else None,
    }


def _unusual(event: Event, *, host: str, now: float) -> dict[str, object]:
    """Of no bundle, and no trouble that could end."""
    said = _common(event.event, None, host=host, now=now) | {"suppressed": event.suppressed}
    if (condition := event.condition) is not None:
        said |= {"code": condition.code, "message": condition.message, "advice": condition.advice}
        said["since"] = iso(condition.since)
    return said


def test_document(bundle: str | None, *, host: str, now: float) -> dict[str, object]:
    """What an operator sends to see whether anybody hears it."""
    message = "this is a test of alert_command: nothing is wrong"
    return _common("test", bundle, host=host, now=now) | {"message": message}


def encoded(document: Mapping[str, object]) -> bytes:
    """One line, so that a shell's `read` has it whole."""
    return json.dumps(document).encode() + b"\n"


def _common(event: str, bundle: str | None, *, host: str, now: float) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "event": event,
        "time": iso(now),
        "host": host,
        "bundle": bundle,
        "unit": None,
        "generation": None,
        "class": None,
        "code": None,
        "message": "",
        "advice": "",
        "since": None,
        "trouble": None,
        "also": [],
        "was": None,
        "suppressed": 0,
    }


def _others(bundles: list[str]) -> str:
    if not bundles:
        return ""
    more = " ..." if len(bundles) > _NAMED else ""
    return f"; the same for {len(bundles)} more: {', '.join(bundles[:_NAMED])}{more}"


def _unit(trouble: Trouble) -> str | None:
    return None if trouble.what in (REFRESH, FILES, AGE) else trouble.what


def _over(trouble: Trouble, state: BundleState | None) -> str:
    name, what = trouble.bundle, trouble.what
    if state is None:
        return f"{name} is no longer configured"
    if what == REFRESH:
        return f"{name} is refreshed again"
    if what == AGE:
        return f"{name} was confirmed by its source, or may be older now"
    if what == FILES:
        return f"the files of {name} are as they were published, and were left alone for {QUIET_S:.0f} s"
    if state.record is not None and state.entry.loaded.get(what, 0) >= state.record.generation:
        return f"{what} has loaded generation {state.record.generation} of {name}"
    return f"{what} need not load {name} any more"
