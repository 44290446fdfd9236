"""Three daemons that answer only what is on their trails, each with its trail on a small disk of its own.

The signer with strict keys, the refresher with orders, and OpenBao with one file audit device. What is asked
is asked by one client, one after the other, so that each answer can be looked for among the records.
"""

from __future__ import annotations

import json
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from secretsd import client
from secretsd.audit import archive
from secretsd.errors import ExitCode
from tests.audit.disk import small_disk
from tests.audit.kills import REFRESHER, judged
from tests.audit.operators import Ordered
from tests.lab.openbao import OpenBao
from tests.signing.daemon import Daemon

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the files at the trail's place hold in the end: of what was answered, and of what is no record."""

    lost: int
    unreadable: int


class Subject(ABC):
    """Runs inside `with`; `directory` is its trail's, on the small disk."""

    name = ""

    def __init__(self, directory: Path, path: Path) -> None:
        self.directory = directory
        self.path = path
        self._stack = ExitStack()
        self._stack.enter_context(small_disk(directory))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def asked(self) -> tuple[bool, float]:
        """Asks for one deed. Returns whether it was done, and after how many seconds that was said."""
        began = time.monotonic()
        is_done = self.ask()
        return is_done, time.monotonic() - began

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @abstractmethod
    def ask(self) -> bool:
        """Asks for one deed. Returns whether it was done."""

    @abstractmethod
    def goes_on(self) -> str:
        """What is done all the same while the trail is in trouble, in words."""

    @abstractmethod
    def held(self) -> Held:
        """Ends the process and reads its files."""

    @abstractmethod
    def reopen(self) -> None:
        """What an operator does after the file was taken away."""


class SignerSubject(Subject):
    """Signs with a strict key."""

    name = "signer"

    def __init__(self, folder: Path) -> None:
        directory = folder / "signer" / "state" / "audit"
        super().__init__(directory, directory / "signer.jsonl")
        keys = {
            "strict": {"type": "hmac", "operations": ["hmac"]},
            "batched": {"type": "hmac", "operations": ["hmac"], "audit": "batched"},
        }
        self._daemon = Daemon(folder / "signer", keys)
        self._daemon.start()
        self._stack.callback(self._stop)
        self._daemon.generate("strict", "batched")
        self._signer = self._stack.enter_context(self._daemon.signer(_PATIENCE_S))
        self._done: list[bool] = []

    @property
    def pid(self) -> int:
        return self._daemon.process.pid

    def ask(self) -> bool:
        is_done = self._sign("strict")
        self._done.append(is_done)
        return is_done

    def goes_on(self) -> str:
        done = sum(self._sign("batched") for _ in range(10))
        return f"with a batched key: {done} of 10"

    def held(self) -> Held:
        self._stop()
        with ExitStack() as stack:
            (pieces,) = archive.opened([self.directory], stack)
            walked = archive.walk(pieces)
            records = [json.loads(line) for line in _lines(pieces) if b'"key":"strict"' in line]
        return Held(
            signatures_lost(records, self._done), int(walked.flaw is not None or walked.is_unfinished)
        )

    def reopen(self) -> None:
        pass

    def _stop(self) -> None:
        if self._daemon.process.poll() is None:
            self._daemon.stop()

    def _sign(self, key: str) -> bool:
        try:
            self._signer.hmac(key, b"fake message")
        except client.SigningError as error:
            if error.code != "audit-unavailable":
                raise
            return False
        return True


class RefresherSubject(Subject):
    """Takes orders; what it reads by itself goes on."""

    name = "refresher"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "refresher"
        self._folder.mkdir()
        super().__init__(
            self._folder / "state" / "audit", self._folder / "state" / "audit" / "refresher.jsonl"
        )
        self._ordered = Ordered(self._folder)
        self._stack.enter_context(self._ordered.daemon)
        assert self._ordered.daemon.secretsctl("wait", "bot").code == 0
        self._versions = 0

    @property
    def pid(self) -> int:
        return self._ordered.daemon.pid

    def ask(self) -> bool:
        return self._ordered.order() is not ExitCode.IO

    def goes_on(self) -> str:
        self._versions += 1
        key = f"fake-key-{self._versions}"
        self._ordered.rotate(key)
        began = time.monotonic()
        while key not in (self._ordered.daemon.published("bot") or ""):
            if time.monotonic() - began > _PATIENCE_S:
                return "a rotated secret was NOT published"
            time.sleep(0.02)
        return "a rotated secret was published"

    def reopen(self) -> None:
        pass

    def held(self) -> Held:
        self._ordered.daemon.stop()
        found = judged(REFRESHER, self.directory, self._ordered.numbers)
        return Held(len(found.lost), int(found.unreadable != ""))


class OpenBaoSubject(Subject):
    """Transit of an OpenBao, and its file audit device."""

    name = "OpenBao"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "openbao-audit", folder / "openbao-audit" / "audit.log")
        self._server = OpenBao(folder / "openbao", audit_file=self.path)
        self._stack.enter_context(self._server)
        self._server.initialise()
        self._server.enable("mounts/transit", {"type": "transit"})
        self._server.done("POST", "transit/keys/bot", {})
        self._answered: list[str] = []

    @property
    def pid(self) -> int:
        return self._server.pid

    def ask(self) -> bool:
        status, answer = self._server.ask("POST", "transit/hmac/bot", {"input": "ZmFrZQ=="})
        if status == 200:
            self._answered.append(answer["request_id"])
        return status == 200

    def goes_on(self) -> str:
        return ""

    def reopen(self) -> None:
        os.kill(self.pid, signal.SIGHUP)
        time.sleep(0.5)

    def held(self) -> Held:
        self._server.kill()
        on_record: dict[str, set[str]] = {}
        unreadable = 0
        for line in self.path.read_bytes().splitlines() if self.path.exists() else []:
            try:
                entry = json.loads(line)
            except ValueError:
                unreadable += 1
                continue
            on_record.setdefault(entry["request"]["id"], set()).add(entry["type"])
        lost = [each for each in self._answered if on_record.get(each) != {"request", "response"}]
        return Held(len(lost), unreadable)


SUBJECTS = (SignerSubject, RefresherSubject, OpenBaoSubject)


def signatures_lost(records: Iterable[Mapping[str, Any]], done: Sequence[bool]) -> int:
    """How many of what one client asked for was done, and is not on record with intent and outcome.

    Each request has a number, so they are on record in the order in which they were asked.
    """
    asked: dict[int, list[object]] = {}
    for record in records:
        if record["action"] == "hmac":
            asked.setdefault(record["request"], []).append(record.get("result"))
    if len(asked) != len(done):
        return sum(done)  # nobody can tell which
    return sum(is_done and found != [None, "ok"] for is_done, found in zip(done, asked.values(), strict=True))


def _lines(pieces: list[archive.Piece]) -> list[bytes]:
    found: list[bytes] = []
    for piece in pieces:
        piece.file.seek(0)
        found += piece.file
    return found
