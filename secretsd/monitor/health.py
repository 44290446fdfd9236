"""How a daemon is, from what was looked at: ready, ready with something to say, or not ready. Pure.

A check that fails means that something on this host cannot get now what the configuration promises it: a bot
could not start, or runs on what is no longer published. A check that warns means that it can, and that an
operator should know. An outage of AWS with good files in place is a warning: whoever takes "not ready" for a
reason to stop bots must not stop them for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from secretsd.control.check import Check, encoded

SCHEMA = 1
Word = Literal["ready", "degraded", "not ready"]

_WORDS: dict[str, Word] = {"ok": "ready", "warn": "degraded", "fail": "not ready"}
_WORST_FIRST = ("fail", "warn", "ok")


def word(checks: Sequence[Check]) -> Word:
    """All checks in one word."""
    found = {check.state for check in checks}
    return next((_WORDS[state] for state in _WORST_FIRST if state in found), "ready")


def document(daemon: str, checks: Sequence[Check]) -> dict[str, object]:
    """One daemon in `secretsctl health --json`; /readyz?json has it too."""
    return {"daemon": daemon, "state": word(checks), "checks": encoded(worst_first(checks))}


def text(checks: Sequence[Check]) -> str:
    """The same for people, with what to do about each trouble."""
    lines: list[str] = [word(checks)]
    for each in worst_first(checks):
        lines.append(f"{each.state:<4}  {each.check}: {each.detail}")
        lines += [f"      fix: {each.fix}"] if each.fix else []
    return "\n".join(lines)


def worst_first(checks: Sequence[Check]) -> list[Check]:
    return sorted(checks, key=lambda each: _WORST_FIRST.index(each.state))
