"""Makes the canary gate part of every test; tests/conftest.py loads it.

A test whose daemons leave a secret where none belongs fails, whatever it was about. Each process of a
distributed run has a gate of its own; the last lines of a run say what all of them have searched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import pytest

from tests.canary import planting
from tests.canary.gate import GATE
from tests.canary.tally import Tally

_total = pytest.StashKey[Tally]()
_KEY = "canary-gate"
_REPORT = "a secret was found where none may be (tests/canary/allowed.py lists where it may):"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "plants: shows a canary on purpose, for the gate to find it")
    GATE.prove = planting.prove
    config.stash[_total] = Tally()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    GATE.begin_body()
    try:
        result = yield
    except BaseException:
        # What has failed is the test; a machine that is out of order must not hide why.
        with contextlib.suppress(Exception):
            GATE.end_body()
        raise
    GATE.end_body()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "teardown":
        found = GATE.finish("".join(content for _, content in report.sections))
        if item.get_closest_marker("plants") is not None:
            _judge(report, "" if found else "the canary gate did not find what this test has shown")
        else:
            _judge(report, "\n  ".join([_REPORT, *map(str, found)]) if found else "")
    return report


def _judge(report: pytest.TestReport, verdict: str) -> None:
    """Adds to what else is wrong, or is all that is."""
    if verdict and report.passed:
        report.outcome, report.longrepr = "failed", verdict
    elif verdict:
        report.sections.append(("canary gate", verdict))


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_total].add(GATE.total)
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[_KEY] = asdict(GATE.total)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of pytest-xdist has ended."""
    if _KEY in (output := getattr(node, "workeroutput", {})):
        node.config.stash[_total].add(Tally(**output[_KEY]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_total].tests:
        blind = "" if os.geteuid() == 0 else "; not as root, which cannot read the daemons' memory"
        terminalreporter.write_line(f"canary gate: {config.stash[_total]}{blind}")
