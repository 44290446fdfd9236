"""Where a test's servers listen: on this machine's own loopback, or in the network of a lab machine.

A socket belongs to the network namespace it was made in, whoever uses it later. So a thread that enters the
lab machine's namespace for as long as it takes to make a socket is all that is needed: no relay, no second
process, and the server stays an object of the test that can be told what to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

_CLONE_NEWNET = 0x40000000

Address = tuple[str, int]


class Network(Protocol):
    """Makes TCP sockets at a place; addresses are (IPv4 address, port)."""

    def listen(self, address: Address) -> socket.socket:
        """A listening socket; port 0 takes a free one. Raises OSError."""

    def connect(self, address: Address, *, timeout_s: float = 5.0) -> socket.socket:
        """A connected socket with that timeout. Raises OSError."""


class LocalNetwork:
    """The network of the process itself."""

    def listen(self, address: Address) -> socket.socket:
        return socket.create_server(address, backlog=256)

    def connect(self, address: Address, *, timeout_s: float = 5.0) -> socket.socket:
        return socket.create_connection(address, timeout=timeout_s)


@dataclass(frozen=True, slots=True)
class NamespaceNetwork:
    """The network namespace of process `pid` (needs CAP_SYS_ADMIN)."""

    pid: int

    def listen(self, address: Address) -> socket.socket:
        return self._inside(lambda: socket.create_server(address, backlog=256))

    def connect(self, address: Address, *, timeout_s: float = 5.0) -> socket.socket:
        return self._inside(lambda: socket.create_connection(address, timeout=timeout_s))

    def _inside(self, make: Callable[[], socket.socket]) -> socket.socket:
        # A thread of its own that ends with the call: setns changes the calling thread only, for good.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(self._enter_and, make).result()

    def _enter_and(self, make: Callable[[], socket.socket]) -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(namespace, _CLONE_NEWNET) != 0:
                error = ctypes.get_errno()
                raise OSError(error, f"setns into the network of process {self.pid}: {os.strerror(error)}")
        finally:
            os.close(namespace)
        return make()


@contextlib.contextmanager
def black_hole(network: Network, address: Address) -> Iterator[None]:
    """Nobody answers at `address`, as behind a firewall that drops: a connection is neither made nor refused.

    Linux drops what asks for a connection where the queue of a listening socket is full.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(network.listen(address))
        listener.listen(0)
        with contextlib.suppress(TimeoutError):
            while True:
                stack.enter_context(network.connect(address, timeout_s=0.2))
        yield
