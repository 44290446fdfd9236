"""One line of `secretsctl doctor`: what was looked at, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from secretsd.errors import ExitCode, Failure, worst

SCHEMA = 1

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """`check` names what was looked at ("endpoint aws"); `detail` is a clause, `fix` the next step."""

    check: str
    state: State
    detail: str
    fix: str = ""
    code: ExitCode = ExitCode.OK  # what a failure of this kind ends the command with


def ok(check: str, detail: str) -> Check:
    return Check(check, "ok", detail)


def warn(check: str, detail: str, fix: str) -> Check:
    return Check(check, "warn", detail, fix)


def fail(check: str, detail: str, fix: str, code: ExitCode) -> Check:
    return Check(check, "fail", detail, fix, code)


def failed(check: str, failure: Failure) -> Check:
    """What a refresh would say."""
    return fail(check, failure.message, failure.advice, failure.exit_code)


def exit_code(checks: Iterable[Check]) -> ExitCode:
    """0 where nothing failed, else the worst code."""
    return worst([check.code for check in checks if check.state == "fail"])


def encoded(checks: Iterable[Check]) -> list[dict[str, object]]:
    """For the control socket; `decoded` reads it."""
    return [_document(check) | {"code": int(check.code)} for check in checks]


def decoded(documents: Iterable[Mapping[str, Any]]) -> list[Check]:
    return [Check(**{**document, "code": ExitCode(document["code"])}) for document in documents]


def published(checks: Iterable[Check]) -> dict[str, object]:
    """The answer to `doctor --json`."""
    return {"schema": SCHEMA, "checks": [_document(check) for check in checks]}


def _document(check: Check) -> dict[str, object]:
    return {"check": check.check, "state": check.state, "detail": check.detail, "fix": check.fix}
