"""Fixtures of the signing service's tests."""

from __future__ import annotations

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
