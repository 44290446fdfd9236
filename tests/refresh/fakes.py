"""A vault in the test's own process, workers that are threads, and a notify helper without systemd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from secretsd.config.models import Bundle
from secretsd.errors import Failure, FailureClass
from secretsd.model import (
    Candidate,
    CloudIdentity,
    EndpointSeen,
    FetchedSecret,
    SecretRef,
    SecretVersion,
    SourceView,
    UnitReport,
)
from secretsd.notify.protocol import (
    ActRequest,
    BeforeRequest,
    LookRequest,
    Request,
    decode_request,
    encode_reply,
)
from secretsd.refresh.files import published
from secretsd.refresh.messages import WorkerMessage
from secretsd.refresh.sources.interface import FetchFailure
from secretsd.refresh.worker import worker
from secretsd.refresh.workers import WorkerChannel, Workers
from tests.canary.gate import GATE

INVOCATION = "0123456789abcdef" * 2


def failure(failure_class: FailureClass = FailureClass.TRANSIENT, *, secret: str | None = None) -> Failure:
    return Failure(f"fake-{failure_class.value}", failure_class, "a fake failure", "wait", secret)


def bundle(**tables: object) -> Bundle:
    """A bundle of one secret, prod/bot, whose key TOKEN is published; `tables` replace its keys."""
    whole = {"secrets": [{"source": "aws", "id": "prod/bot"}], "variables": {"TOKEN": {}}, **tables}
    return Bundle.model_validate(whole)


def prepare(runtime_dir: Path) -> Path:
    """A runtime directory as a daemon finds it that is started anew."""
    published.prepare(runtime_dir)
    return runtime_dir


def candidate(name: str = "bot", digest: str = "d1") -> Candidate:
    version = SecretVersion(SecretRef("aws", "prod/bot"), "v1", None)
    return Candidate(name, digest, (version,), ("TOKEN",), (), {})


@dataclass
class FakeVault:
    """Secrets by id; opened in the place of AWS by the fixture `vault`."""

    secrets: dict[str, bytes | Failure] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    fetches: list[tuple[str, ...]] = field(default_factory=list)
    fetching: threading.Event = field(default_factory=threading.Event)
    identity: CloudIdentity | None = None
    open_gate: threading.Event = field(default_factory=threading.Event)
    hanging: set[str] = field(default_factory=set)
    pinned: dict[tuple[str, str], bytes] = field(default_factory=dict)  # by id and version
    ignores_versions: bool = False  # as the sources of this host

    def __post_init__(self) -> None:
        self.open_gate.set()

    def put(self, secret_id: str, value: object) -> None:
        """A new version: bytes as they are, anything else as JSON."""
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        GATE.learn(payload)
        self.secrets[secret_id] = payload
        self.versions[secret_id] = self.versions.get(secret_id, 0) + 1

    def fail(self, secret_id: str, failure_class: FailureClass = FailureClass.TRANSIENT) -> None:
        self.secrets[secret_id] = failure(failure_class, secret=secret_id)

    def hang(self, secret_id: str) -> None:
        """Fetches of this secret wait until `open_gate` is set."""
        self.hanging.add(secret_id)
        self.open_gate.clear()

    def open(self) -> FakeSource:
        return FakeSource(self)


class FakeSource:
    """What a worker opens on a vault."""

    def __init__(self, vault: FakeVault) -> None:
        self._vault = vault
        self.calls: dict[str, int] = {}

    @property
    def identity(self) -> CloudIdentity | None:
        return self._vault.identity

    @property
    def endpoints(self) -> tuple[EndpointSeen, ...]:
        return ()

    @property
    def view(self) -> SourceView:
        return SourceView()

    def fetch(self, refs: Sequence[SecretRef], *, deadline: float) -> Iterator[FetchedSecret | FetchFailure]:
        self._vault.fetches.append(tuple(ref.id for ref in refs))
        for ref in refs:
            if ref.id in self._vault.hanging:
                self._vault.fetching.set()
                self._vault.open_gate.wait(10)
            refused = failure(FailureClass.REFUSAL, secret=str(ref))
            if ref.version is not None and not self._vault.ignores_versions:
                value = self._vault.pinned.get((ref.id, ref.version), refused)
                yield (
                    FetchedSecret(ref, ref.version, None, value)
                    if isinstance(value, bytes)
                    else (FetchFailure(ref, value))
                )
                continue
            value = self._vault.secrets.get(ref.id, refused)
            if isinstance(value, Failure):
                yield FetchFailure(ref, value)
            else:
                yield FetchedSecret(ref, f"v{self._vault.versions.get(ref.id, 1)}", None, value)


class ThreadWorkers(Workers):
    """The real worker over a real socket, in a thread: nothing is forked, and a refresh takes 2 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.started = 0
        self.lost_before: str | None = None  # the kind of message before whose arrival the worker is lost

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[WorkerChannel]:
        self.started += 1
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=_work, args=(theirs,), daemon=True)
        thread.start()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
        channel = _ThreadChannel(reader, writer, self.lost_before, thread)
        try:
            yield channel
        finally:
            await channel.close()


def _work(theirs: socket.socket) -> None:
    # A conductor that went away is the end of a worker, and no fault of the test.
    with theirs, contextlib.suppress(Exception):
        worker.run(theirs)


class _ThreadChannel(WorkerChannel):
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lost_before: str | None,
        thread: threading.Thread,
    ) -> None:
        super().__init__(reader, writer, pidfd=-1)
        self._lost_before = lost_before
        self._thread = thread

    async def messages(self) -> AsyncIterator[WorkerMessage]:
        async for message in super().messages():
            if message.kind == self._lost_before:
                return
            yield message

    async def close(self) -> None:
        """A thread cannot be killed: one that hangs is left behind with nobody to talk to."""
        self._writer.close()
        for _ in range(40):
            if not self._thread.is_alive():
                return
            await asyncio.sleep(0.002)


class FakeHelper:
    """Answers as the root helper does: `answers` in turn, then the last one for ever.

    What only looks, and what asks the bot's `before`, has answers of its own.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.answers = [UnitReport("acted", invocation=INVOCATION, main_pid=1)]
        self.looks = [UnitReport("due")]
        self.befores = [UnitReport("willing")]
        self.requests: list[Request] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.gates: dict[str, asyncio.Event] = {}  # of single kinds, beside the one for all
        self.asked = asyncio.Event()
        self.hanging: set[str] = set()  # units whose jobs never end

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def told(self) -> list[tuple[str, int]]:
        """Each unit and generation that the conductor asked for, in order."""
        return [(r.unit, r.generation) for r in self.requests if isinstance(r, ActRequest)]

    @property
    def kinds(self) -> list[str]:
        """What was asked for, in order: "Look", "Before", "Act", "Confirm"."""
        return [type(request).__name__.removesuffix("Request") for request in self.requests]

    def _answers_to(self, request: Request) -> list[UnitReport]:
        match request:
            case LookRequest():
                return self.looks
            case BeforeRequest():
                return self.befores
            case _:
                return self.answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            request = decode_request(await reader.readline())
            self.requests.append(request)
            self.asked.set()
            if request.unit in self.hanging:
                await reader.read()  # until the daemon gives up
            answers = self._answers_to(request)
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if kind_gate := self.gates.get(type(request).__name__.removesuffix("Request")):
                await kind_gate.wait()
            await self.gate.wait()
            writer.write(encode_reply(answer))
            await writer.drain()
