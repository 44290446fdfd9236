"""HTTP over a Unix socket, for requests."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

if TYPE_CHECKING:
    from requests import PreparedRequest

# What stands in the Host header: a socket has no name of its own.
HOST = "localhost"


class UnixAdapter(HTTPAdapter):
    """Sends every request to the socket at `path`, whatever host its URL names. No proxy, no TLS."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._pool = HTTPConnectionPool(HOST, maxsize=1)
        self._pool.ConnectionCls = partial(_UnixConnection, path)  # type: ignore[assignment]

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,  # noqa: ARG002
        verify: object,  # noqa: ARG002
        proxies: object = None,  # noqa: ARG002
        cert: object = None,  # noqa: ARG002
    ) -> HTTPConnectionPool:
        return self._pool

    def close(self) -> None:
        self._pool.close()
        super().close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._path = path

    def _new_conn(self) -> socket.socket:
        """Blocks up to the connect timeout, as one over TCP. Raises: urllib3's errors."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self._path)
        except TimeoutError:
            connection.close()
            raise ConnectTimeoutError(self, "the socket did not accept in time") from None
        except OSError as error:
            connection.close()
            raise NewConnectionError(self, error.strerror or type(error).__name__) from None
        return connection
