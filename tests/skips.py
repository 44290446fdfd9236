"""A skipped test is a test that did not run: with CI=true that fails, unless allowed-skips.txt says why not.

A pytest plugin; tests/conftest.py loads it. Each line of tests/allowed-skips.txt is `PATTERN | REASON`, where
PATTERN is a node id with shell wildcards; empty lines and lines that start with # are comments.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

LIST_NAME = "allowed-skips.txt"


@dataclass(frozen=True, slots=True)
class AllowedSkip:
    """One line of the list."""

    pattern: str
    reason: str


def parse(text: str) -> list[AllowedSkip]:
    """The lines of the list. Raises ValueError for one without a reason."""
    allowed = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            pattern, _, reason = (part.strip() for part in line.partition("|"))
            if not pattern or not reason:
                raise ValueError(f"{LIST_NAME}, line {number}: write PATTERN | REASON")
            allowed.append(AllowedSkip(pattern, reason))
    return allowed


def is_allowed(node_id: str, allowed: list[AllowedSkip]) -> bool:
    """True when a line of the list covers the test."""
    # fnmatch takes the brackets of a parametrized test's id for a character class: compare literally, too.
    return any(node_id == skip.pattern or fnmatchcase(node_id, skip.pattern) for skip in allowed)


class _SkipGuard:
    """Turns reports of skips that are not allowed into failures."""

    def __init__(self, allowed: list[AllowedSkip]) -> None:
        self._allowed = allowed

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        # An expected failure that failed is reported as skipped, too; it ran.
        if not hasattr(report, "wasxfail"):
            self._judge(report, item.nodeid)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        self._judge(report, collector.nodeid)
        return report

    def _judge(self, report: pytest.TestReport | pytest.CollectReport, node_id: str) -> None:
        if report.outcome == "skipped" and not is_allowed(node_id, self._allowed):
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            report.outcome = "failed"
            rule = f"CI=true allows that only with a line in tests/{LIST_NAME}"
            report.longrepr = f"{node_id} was skipped ({why}); {rule}"


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true":
        listed = Path(config.rootpath, "tests", LIST_NAME)
        allowed = parse(listed.read_text()) if listed.exists() else []
        config.pluginmanager.register(_SkipGuard(allowed), "secretsd-skip-guard")
