"""A real daemon in the foreground, and operators who give it orders as fast as it takes them.

An order is a rollback to a generation that is not there. It is refused, and by then it is on record as any
order is: before anything is done. Its number is in the record, so that no order can stand for another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from secretsd.control.client import ask
from secretsd.errors import ExitCode, TryAgainError
from tests.lab.foreground import ForegroundDaemon

_CONFIGURATION = """refresh_jitter = "0s"
[sources.files]
type = "file"
directory = "{folder}/secrets"
[bundles.bot]
refresh_interval = "1s"
[[bundles.bot.secrets]]
source = "files"
id = "bot"
[bundles.bot.variables]
API_KEY = {{}}
[audit]
max_file_size = "1M"
"""
_AT_ONCE = 8
_PATIENCE_S = 5.0


class Ordered:
    """The daemon, in `folder`; `numbers` are those of the orders that it has answered."""

    def __init__(self, folder: Path) -> None:
        self._secret = folder / "secrets" / "bot"
        self._secret.parent.mkdir()
        self.rotate("fake-key-0")
        self.daemon = ForegroundDaemon(folder, _CONFIGURATION.format(folder=folder), {})
        self.directory = folder / "state" / "audit"
        self.numbers: list[int] = []
        self._next = count(1_000_000)

    @property
    def path(self) -> Path:
        return self.directory / "refresher.jsonl"

    def rotate(self, key: str) -> None:
        """A new version of the bundle's secret."""
        draft = self._secret.with_suffix(".new")
        draft.write_text(f'{{"API_KEY": "{key}"}}')
        draft.chmod(0o600)
        draft.rename(self._secret)

    def order(self) -> ExitCode | None:
        """Gives one. Returns the code of its answer, or None where none came."""
        number = next(self._next)
        request = {"command": "rollback", "bundle": "bot", "to": number}
        try:
            reply = ask(str(self.daemon.run_dir / "control.sock"), request, timeout_s=_PATIENCE_S)
        except TryAgainError:
            return None
        if reply.code is not ExitCode.IO:  # "audit-unavailable": it was not begun
            self.numbers.append(number)
        return reply.code

    def answers(self, wanted: int) -> None:
        """Returns when so many more orders are answered."""
        wanted += len(self.numbers)
        while len(self.numbers) < wanted:
            assert self.order() is not None

    @contextlib.contextmanager
    def under_load(self) -> Iterator[None]:
        """Operators at work inside of this."""
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set() and self.order() is not None:
                pass

        threads = [threading.Thread(target=work) for _ in range(_AT_ONCE)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def kill(self) -> None:
        os.kill(self.daemon.pid, signal.SIGKILL)
