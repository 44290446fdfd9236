"""How a fault proxy answers: honestly, or as broken as the fault that is set.

It also holds callers to the limits that AWS has and moto has not.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.lab.bent import bend, with_errors, without_refused
from tests.lab.dialects import as_object
from tests.lab.faults import (
    Away,
    ClockChecked,
    ClockSkew,
    Cut,
    CutWhole,
    Drip,
    Hang,
    Huge,
    Refusal,
    RefuseIds,
    Reset,
    WrongJson,
)
from tests.lab.httpd import Handler
from tests.lab.tls import Certificate

if TYPE_CHECKING:
    from tests.lab.proxy import FaultProxy

_BATCH = "BatchGetSecretValue"
# API reference of BatchGetSecretValue: SecretIdList has 1 to 20 items.
_MAX_BATCH_IDS = 20
_JSON = {"Content-Type": "application/x-amz-json-1.1"}
_CHUNK_BYTES = 65536
_LIMIT = timedelta(minutes=5)  # of SigV4
_FORM = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Call:
    """One request that arrived: its operation, the secrets it names, and when (monotonic seconds)."""

    operation: str
    secret_ids: tuple[str, ...]
    at: float
    access_key_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service behind the proxy said."""

    status: int
    headers: dict[str, str]
    body: bytes


class ProxyHandler(Handler):
    """One connection to a `FaultProxy`, which is set on the class."""

    proxy: FaultProxy

    def do_POST(self) -> None:  # noqa: N802 - the base class's naming
        body = self.request_body()
        dialect = self.proxy.dialect
        call = Call(
            dialect.operation(self.command, self.path, dict(self.headers.items())),
            dialect.secret_ids(self.path, body),
            time.monotonic(),
            self._access_key_id(),
        )
        fault, cleared = self.proxy.arrive(call)
        if call.operation == _BATCH and len(call.secret_ids) > _MAX_BATCH_IDS:
            self._refuse(_too_many(len(call.secret_ids)))
            return
        match fault:
            case None | Away() | Certificate():  # the last two are met before a request
                self._send(self._forward(body))
            case Refusal():
                self._refuse(fault)
            case ClockSkew():
                self._refuse(_wrong_date(self.headers.get("X-Amz-Date", ""), fault.ahead_s))
            case ClockChecked() if (ahead_s := _ahead_s(self.headers.get("X-Amz-Date", ""))) is not None:
                # The date of the answer is the true one: it is the caller's that is wrong.
                self._refuse(replace(_wrong_date(self.headers["X-Amz-Date"], ahead_s), skew_s=0.0))
            case ClockChecked():
                self._send(self._forward(body))
            case Hang():
                cleared.wait()
                self.close_connection = True
            case Huge():
                self._send_huge(fault.size_bytes)
            case RefuseIds():
                self._refuse_ids(fault, call, body)
            case _:
                self._break(fault, self._forward(body), cleared)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_LIST = do_POST  # noqa: N815 - the base class's naming

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

    def _refuse_ids(self, fault: RefuseIds, call: Call, body: bytes) -> None:
        if call.operation != _BATCH:
            if any(fault.hits(each) for each in call.secret_ids):
                self._refuse(Refusal(fault.status, fault.code, fault.message))
            else:
                self._send(self._forward(body))
            return
        rest, errors = without_refused(as_object(body), fault)
        if rest["SecretIdList"]:
            answer = self._forward(json.dumps(rest).encode())
        else:
            answer = Answer(200, dict(_JSON), b'{"SecretValues": []}')
        if answer.status == 200:
            answer = Answer(200, answer.headers, with_errors(answer.body, errors))
        self._send(answer)

    # Answers

    def _refuse(self, refusal: Refusal) -> None:
        body, headers = self.proxy.dialect.refusal(refusal)
        date = email.utils.formatdate(time.time() + refusal.skew_s, usegmt=True)
        self.reply(refusal.status, body, {**headers, "Date": date})

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
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            kept = {name: value for name, value in response.getheaders() if _is_kept(name.lower())}
            return Answer(response.status, kept, response.read())
        finally:
            upstream.close()

    def _access_key_id(self) -> str:
        # AWS4-HMAC-SHA256, then Credential=KEY/DATE/REGION/SERVICE/aws4_request, then the rest.
        credential = self.headers.get("Authorization", "").partition("Credential=")[2]
        return credential.partition("/")[0]


def _is_kept(header: str) -> bool:
    return header == "content-type" or header.startswith(("x-amz", "x-vault"))


def _ahead_s(asked_at: str) -> float | None:
    """By how much the request's date is ahead of this clock, if that is more than the service allows."""
    ahead = _moment(asked_at) - datetime.now(UTC)
    return ahead.total_seconds() if abs(ahead) > _LIMIT else None


def _moment(asked_at: str) -> datetime:
    return datetime.strptime(asked_at, _FORM).replace(tzinfo=UTC)


def _wrong_date(asked_at: str, ahead_s: float) -> Refusal:
    """As SigV4 refuses a request whose date, `asked_at`, is too far ahead, or (negative) behind."""
    now = _moment(asked_at) - timedelta(seconds=ahead_s)
    past, sign, edge = (
        ("still later", "+", now + _LIMIT) if ahead_s > 0 else ("now earlier", "-", now - _LIMIT)
    )
    what = "not yet current" if ahead_s > 0 else "expired"
    return Refusal(
        400,
        "InvalidSignatureException",
        f"Signature {what}: {asked_at} is {past} than {edge:{_FORM}} ({now:{_FORM}} {sign} 5 min.)",
        skew_s=-ahead_s,
    )


def _too_many(count: int) -> Refusal:
    return Refusal(
        400,
        "ValidationException",
        f"1 validation error detected: Value at 'secretIdList' has {count} members and failed to satisfy "
        "constraint: Member must have length less than or equal to 20",
    )
