"""The fault proxy: stands between secretsd and a source of secrets, counts the calls, breaks them as told."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from typing import cast

from tests.lab.breaking import Call, ProxyHandler
from tests.lab.dialects import AwsJson, Dialect
from tests.lab.faults import Away, Fault
from tests.lab.httpd import Handler, Httpd
from tests.lab.network import Address, LocalNetwork, Network, black_hole
from tests.lab.tls import Authority, Certificate

# Where lab machines find AWS.
LAB_ADDRESS = ("127.0.0.1", 5000)


class FaultProxy(Httpd):
    """Forwards to `upstream` (an address of this machine) until a fault is set.

    In a lab machine's network it listens at `LAB_ADDRESS`. All methods may be called at any time from any
    thread; a fault counts for the requests that arrive after it was set, and clearing it ends a `Hang`.
    With an `authority` it speaks TLS, with its good certificate unless a fault names another.
    """

    def __init__(
        self,
        upstream: Address,
        network: Network,
        address: Address = LAB_ADDRESS,
        *,
        dialect: Dialect | None = None,
        authority: Authority | None = None,
    ) -> None:
        handler = type("_BoundProxyHandler", (ProxyHandler,), {"proxy": self})
        super().__init__(network, address, cast("type[Handler]", handler), tls=self._context)
        self.upstream = upstream
        self.dialect = dialect or AwsJson()
        self._authority = authority
        self._nobody = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._left: int | None = None
        self._only: frozenset[str] = frozenset()
        self._cleared = threading.Event()
        self._calls: list[Call] = []
        self.last_body_bytes = 0

    @classmethod
    def local(
        cls, upstream: Address, *, dialect: Dialect | None = None, authority: Authority | None = None
    ) -> FaultProxy:
        """One on this machine's loopback; AWS_ENDPOINT_URL is its `url`."""
        return cls(upstream, LocalNetwork(), ("127.0.0.1", 0), dialect=dialect, authority=authority)

    @property
    def url(self) -> str:
        scheme = "http" if self._authority is None else "https"
        return f"{scheme}://{self.address[0]}:{self.address[1]}"

    # Faults

    def set(self, fault: Fault, *, times: int | None = None, only: str | None = None) -> None:
        """From now on (or for the next `times` calls, or in calls of operation `only`) this goes wrong."""
        with self._lock:
            was_away = isinstance(self._fault, Away)
            self._fault, self._left = fault, times
            self._only = frozenset() if only is None else frozenset({only})
            self._cleared.set()
            self._cleared = threading.Event()
        if isinstance(fault, Away):
            self.stop()
            if fault is Away.BLACK_HOLE:
                self._nobody.enter_context(black_hole(self._network, self.address))
        elif was_away:
            self._come_back()

    def clear(self) -> None:
        """All is well again."""
        with self._lock:
            was_away = isinstance(self._fault, Away)
            self._fault = None
            self._cleared.set()
            self._cleared = threading.Event()
        if was_away:
            self._come_back()

    def _come_back(self) -> None:
        self._nobody.close()
        self.start()

    @contextlib.contextmanager
    def broken(self, fault: Fault, *, only: str | None = None) -> Iterator[None]:
        """The fault for the length of a block."""
        self.set(fault, only=only)
        try:
            yield
        finally:
            self.clear()

    def stop(self) -> None:
        """Connection refused, from now until `start`; requests that hang are let go."""
        with self._lock:
            self._cleared.set()
            self._cleared = threading.Event()
        self._nobody.close()
        super().stop()

    def _context(self) -> ssl.SSLContext | None:
        if self._authority is None:
            return None
        with self._lock:
            shown = self._fault if isinstance(self._fault, Certificate) else Certificate.GOOD
        return self._authority.context(shown)

    # Counts

    @property
    def calls(self) -> list[Call]:
        """All requests so far, in their order."""
        with self._lock:
            return list(self._calls)

    @property
    def counts(self) -> Counter[str]:
        """How many requests each operation has had."""
        return Counter(call.operation for call in self.calls)

    def forget_calls(self) -> None:
        """Counts from zero."""
        with self._lock:
            self._calls.clear()

    # For the handler

    def arrive(self, call: Call) -> tuple[Fault | None, threading.Event]:
        """Records a call; returns the fault it meets and what is set when that fault is cleared."""
        with self._lock:
            self._calls.append(call)
            if self._only and call.operation not in self._only:
                return None, self._cleared
            fault = self._fault
            if fault is not None and self._left is not None:
                self._left -= 1
                if self._left == 0:
                    self._fault, self._left = None, None
            return fault, self._cleared
