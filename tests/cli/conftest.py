from __future__ import annotations

from tests.refresh.conftest import home, vault

__all__ = ["home", "vault"]
