"""A proxy before moto's S3 that refuses what AWS refuses and moto lets pass.

moto takes a wrong checksum, a put without lock headers and a retention that is too short; the bucket of a
real trail takes none of them (S3 by itself, or its policy: see `secretsctl aws-setup --audit`).
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import urlsplit

from tests.canary.gate import GATE
from tests.canary.scan import Trace, traces_in
from tests.canary.spellings import Needles
from tests.canary.tally import Tally
from tests.lab.httpd import Handler, Httpd
from tests.lab.network import Address, LocalNetwork, Network

_LEAST_RETENTION = timedelta(days=2554)
_DROPPED = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(slots=True)
class Shipped:
    """Everything that was put into a bucket, by its key, for the canary gate."""

    objects: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def key(self) -> object:
        return id(self)

    @property
    def is_alive(self) -> bool:
        return False

    def traces(self, wanted: Needles, tally: Tally) -> Iterator[Trace]:
        for name, body in self.objects:
            yield from traces_in(body, f"object {name}", wanted)
            tally.files += 1


class StrictS3(Httpd):
    """Forwards to `upstream`; `refused` counts why puts were not let through."""

    def __init__(
        self, upstream: Address, network: Network | None = None, address: Address = ("127.0.0.1", 0)
    ) -> None:
        handler = type("_Bound", (_Handler,), {"proxy": self})
        super().__init__(network or LocalNetwork(), address, cast("type[Handler]", handler))
        self.upstream = upstream
        self.refused: Counter[str] = Counter()
        self.puts: list[str] = []  # keys, in the order in which they came through
        self.shipped = Shipped()
        GATE.watch(self.shipped)
        self.is_out = threading.Event()  # every request is answered with 503
        self.loses_answers = threading.Event()  # what is put arrives, and the client hears nothing of it

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"


class _Handler(Handler):
    proxy: StrictS3

    def do_GET(self) -> None:  # noqa: N802 - the base class's naming
        self._pass_on(b"")

    def do_HEAD(self) -> None:  # noqa: N802
        self._pass_on(b"")

    def do_DELETE(self) -> None:  # noqa: N802
        self._pass_on(b"")

    def do_POST(self) -> None:  # noqa: N802
        self._pass_on(self.request_body())

    def do_PUT(self) -> None:  # noqa: N802
        body = self.request_body()
        path = urlsplit(self.path)
        is_object = path.path.count("/") > 1 and not path.query
        if is_object and (why := self._unfit(body)) and not self.proxy.is_out.is_set():
            self.proxy.refused[why] += 1
            self._error(400, why)
            return
        if is_object and not self.proxy.is_out.is_set():
            key = path.path.split("/", 2)[2]
            self.proxy.puts.append(key)
            self.proxy.shipped.objects.append((key, body))
        self._pass_on(body)

    def _unfit(self, body: bytes) -> str:
        """Why AWS would not take this put, or nothing."""
        said = self.headers
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        until = said.get("x-amz-object-lock-retain-until-date", "")
        if "x-amz-checksum-sha256" not in said or said.get("x-amz-sdk-checksum-algorithm") != "SHA256":
            return "NoChecksum"
        if said["x-amz-checksum-sha256"] != digest:
            return "BadDigest"
        if said.get("x-amz-object-lock-mode") != "COMPLIANCE" or not until:
            return "NoLock"
        if datetime.fromisoformat(until) < datetime.now(UTC) + _LEAST_RETENTION:
            return "RetentionTooShort"
        if said.get("x-amz-server-side-encryption") != "aws:kms":
            return "NoEncryption"
        return "" if said.get("If-None-Match") == "*" else "NoCondition"

    def _error(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>fake</Message></Error>".encode()
        self.reply(status, body, {"Content-Type": "application/xml"})

    def _pass_on(self, body: bytes) -> None:
        if self.proxy.is_out.is_set():
            self._error(503, "ServiceUnavailable")
            return
        upstream = http.client.HTTPConnection(*self.proxy.upstream, timeout=30)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            headers = {**kept, "Content-Length": str(len(body)), "Connection": "close"}
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            answer = response.read()
        finally:
            upstream.close()
        if self.proxy.loses_answers.is_set() and self.command == "PUT":
            self.reset()
            return
        kept = {name: value for name, value in response.getheaders() if name.lower() not in _DROPPED}
        if self.command == "HEAD":
            self.begin(response.status, kept, content_length=int(response.headers.get("Content-Length", 0)))
        else:
            self.reply(response.status, answer, kept)
