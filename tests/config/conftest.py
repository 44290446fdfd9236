from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.config.support import Etc

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def etc(tmp_path: Path) -> Etc:
    return Etc(tmp_path)
