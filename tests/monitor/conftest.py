from __future__ import annotations

from tests.control.conftest import socket_path
from tests.refresh.conftest import home, vault

__all__ = ["home", "socket_path", "vault"]
