"""Fixtures of the signing service's tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.signing.softhsm import SoftHsm, make_softhsm


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """A fresh token for this process."""
    made = make_softhsm(tmp_path / "softhsm")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture(autouse=True)
def no_alarm_outlives_its_test() -> Iterator[None]:
    """An inline dispatcher sets a timer that would end this process."""
    yield
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    assert not left_s, "a dispatcher was not stopped"
