"""The fault proxy: stands between secretsd and the fake AWS, counts the calls, and breaks them as told.

It also holds callers to the limits that AWS has and moto has not.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from tests.lab.bent import bend, with_errors, without_refused
from tests.lab.faults import Cut, CutWhole, Drip, Fault, Hang, Huge, Refusal, RefuseIds, Reset, WrongJson
from tests.lab.httpd import Handler, Httpd
from tests.lab.network import Address, LocalNetwork, Network

# Where lab machines find AWS.
LAB_ADDRESS = ("127.0.0.1", 5000)
_BATCH = "BatchGetSecretValue"
# API reference of BatchGetSecretValue: SecretIdList has 1 to 20 items.
_MAX_BATCH_IDS = 20
_JSON = {"Content-Type": "application/x-amz-json-1.1"}
_CHUNK_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Call:
    """One request that arrived: its operation, the secrets it names, and when (monotonic seconds)."""

    operation: str
    secret_ids: tuple[str, ...]
    at: float
    access_key_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the fake AWS said."""

    status: int
    headers: dict[str, str]
    body: bytes


class FaultProxy(Httpd):
    """Forwards to `upstream` (an address of this machine) until a fault is set.

    In a lab machine's network it listens at `LAB_ADDRESS`. All methods may be called at any time from any
    thread; a fault counts for the requests that arrive after it was set, and clearing it ends a `Hang`.
    """

    def __init__(self, upstream: Address, network: Network, address: Address = LAB_ADDRESS) -> None:
        handler = type("_BoundProxyHandler", (_ProxyHandler,), {"proxy": self})
        super().__init__(network, address, cast("type[Handler]", handler))
        self.upstream = upstream
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._left: int | None = None
        self._only: frozenset[str] = frozenset()
        self._cleared = threading.Event()
        self._calls: list[Call] = []
        self.last_body_bytes = 0

    @classmethod
    def local(cls, upstream: Address) -> FaultProxy:
        """One on this machine's loopback; AWS_ENDPOINT_URL is its `url`."""
        return cls(upstream, LocalNetwork(), ("127.0.0.1", 0))

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    # Faults

    def set(self, fault: Fault, *, times: int | None = None, only: str | None = None) -> None:
        """From now on (or for the next `times` calls, or in calls of operation `only`) this goes wrong."""
        with self._lock:
            self._fault, self._left = fault, times
            self._only = frozenset() if only is None else frozenset({only})
            self._cleared.set()
            self._cleared = threading.Event()

    def clear(self) -> None:
        """All is well again."""
        with self._lock:
            self._fault = None
            self._cleared.set()
            self._cleared = threading.Event()

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
        super().stop()

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


class _ProxyHandler(Handler):
    proxy: FaultProxy

    def do_POST(self) -> None:  # noqa: N802 - the base class's naming
        body = self.request_body()
        request = _object(body)
        call = Call(self._operation(), _secret_ids(request), time.monotonic(), self._access_key_id())
        fault, cleared = self.proxy.arrive(call)
        if call.operation == _BATCH and len(call.secret_ids) > _MAX_BATCH_IDS:
            self._refuse(_too_many(len(call.secret_ids)))
            return
        match fault:
            case None:
                self._send(self._forward(body))
            case Refusal():
                self._refuse(fault)
            case Hang():
                cleared.wait()
                self.close_connection = True
            case Huge():
                self._send_huge(fault.size_bytes)
            case RefuseIds():
                self._refuse_ids(fault, call, request, body)
            case _:
                self._break(fault, self._forward(body), cleared)

    def _break(
        self,
        fault: Reset | Cut | CutWhole | Drip | WrongJson,
        answer: Answer,
        cleared: threading.Event,
    ) -> None:
        match fault:
            case WrongJson():
                bent = bend(answer.body, fault) if answer.status == 200 else answer.body
                self._send(Answer(answer.status, answer.headers, bent))
            case CutWhole():
                self._send(Answer(answer.status, answer.headers, answer.body[: fault.after_bytes]))
            case Cut():
                self._send_part(answer, fault.after_bytes)
                self.close_connection = True
            case Reset():
                self._send_part(answer, fault.after_bytes)
                # The part is to arrive first: a reset overtakes what is still on its way.
                time.sleep(0.05)
                self.reset()
            case Drip():
                self._drip(answer, fault.interval_s, cleared)

    def _refuse_ids(self, fault: RefuseIds, call: Call, request: dict[str, Any], body: bytes) -> None:
        if call.operation != _BATCH:
            if any(fault.hits(each) for each in call.secret_ids):
                self._refuse(Refusal(400, fault.code, fault.message))
            else:
                self._send(self._forward(body))
            return
        rest, errors = without_refused(request, fault)
        if rest["SecretIdList"]:
            answer = self._forward(json.dumps(rest).encode())
        else:
            answer = Answer(200, dict(_JSON), b'{"SecretValues": []}')
        if answer.status == 200:
            answer = Answer(200, answer.headers, with_errors(answer.body, errors))
        self._send(answer)

    # Answers

    def _refuse(self, refusal: Refusal) -> None:
        body = json.dumps({"__type": refusal.code, "message": refusal.message}).encode()
        date = email.utils.formatdate(time.time() + refusal.skew_s, usegmt=True)
        self.reply(refusal.status, body, {**_JSON, "Date": date, "x-amzn-RequestId": "fake-request-id"})

    def _send(self, answer: Answer) -> None:
        self.proxy.last_body_bytes = len(answer.body)
        self.reply(answer.status, answer.body, answer.headers)

    def _send_part(self, answer: Answer, size: int) -> None:
        self.begin(answer.status, answer.headers, content_length=len(answer.body))
        self.wfile.write(answer.body[:size])

    def _drip(self, answer: Answer, interval_s: float, cleared: threading.Event) -> None:
        self.begin(answer.status, answer.headers, content_length=len(answer.body))
        for at in range(len(answer.body)):
            self.wfile.write(answer.body[at : at + 1])
            if cleared.wait(interval_s):
                self.close_connection = True
                return

    def _send_huge(self, size: int) -> None:
        head, tail = b'{"SecretValues": [], "Filler": "', b'"}'
        self.begin(200, dict(_JSON), content_length=size)
        self.wfile.write(head)
        left = size - len(head) - len(tail)
        while left > 0:
            self.wfile.write(b"A" * min(left, _CHUNK_BYTES))
            left -= _CHUNK_BYTES
        self.wfile.write(tail)

    # The request

    def _forward(self, body: bytes) -> Answer:
        host, port = self.proxy.upstream
        upstream = http.client.HTTPConnection(host, port, timeout=30)
        try:
            headers = {**dict(self.headers.items()), "Content-Length": str(len(body)), "Connection": "close"}
            upstream.request("POST", self.path, body, headers)
            response = upstream.getresponse()
            kept = {name: value for name, value in response.getheaders() if name.lower().startswith("x-amz")}
            return Answer(response.status, _JSON | kept, response.read())
        finally:
            upstream.close()

    def _operation(self) -> str:
        return self.headers.get("X-Amz-Target", "unknown").rpartition(".")[2]

    def _access_key_id(self) -> str:
        # AWS4-HMAC-SHA256, then Credential=KEY/DATE/REGION/SERVICE/aws4_request, then the rest.
        credential = self.headers.get("Authorization", "").partition("Credential=")[2]
        return credential.partition("/")[0]


def _object(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        parsed = json.loads(body)
        if isinstance(parsed, dict):
            return parsed
    return {}


def _secret_ids(request: dict[str, Any]) -> tuple[str, ...]:
    if "SecretIdList" in request:
        return tuple(request["SecretIdList"])
    return (request["SecretId"],) if "SecretId" in request else ()


def _too_many(count: int) -> Refusal:
    return Refusal(
        400,
        "ValidationException",
        f"1 validation error detected: Value at 'secretIdList' has {count} members and failed to satisfy "
        "constraint: Member must have length less than or equal to 20",
    )
