from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.refresh.conftest import home, vault

__all__ = ["home", "socket_path", "vault"]


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Where any user can reach it: pytest's own directories are closed to others."""
    directory = Path(tempfile.mkdtemp(prefix="secretsd-"))
    directory.chmod(0o755)
    yield directory / "control.sock"
    shutil.rmtree(directory)
