"""A real daemon as anybody runs it, in the foreground, and what an operator sees of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.daemons import DaemonProcess
from tests.lab.processes import children_of

ROOT = Path(__file__).resolve().parents[2]
_START_S = 15.0


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, what it wrote to both outputs, and how long it took."""

    code: int
    text: str
    spent_s: float


class ForegroundDaemon:
    """`secretsd --config` in `folder`, from `start` to `stop`; `folder` outlives it, as a disk does.

    `configuration` is the file's text without [daemon] and the keys in it.
    """

    def __init__(self, folder: Path, configuration: str, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._config = folder / "secretsd.toml"
        self.log = folder / "daemon.log"
        self.run_dir = folder / "run"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **environment,
            "PYTHONPATH": str(ROOT),
            "SECRETSD_SOCKET": str(self.run_dir / "control.sock"),
        }
        self._daemon: DaemonProcess | None = None
        (folder / "state").mkdir(exist_ok=True)
        self.configure(configuration)

    def configure(self, configuration: str) -> None:
        """Writes the configuration; a running daemon hears of it by a reload."""
        places = f'runtime_dir = "{self.run_dir}"\nstate_dir = "{self._folder / "state"}"\n'
        self._config.write_text(f'[daemon]\n{places}refresh_interval = "1h"\n{configuration}')

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it answers. Raises: AssertionError."""
        with self.log.open("ab") as log:
            self._daemon = DaemonProcess(
                "secretsd", self._config, env=self._environment, stdout=log, stderr=log
            )
        until = time.monotonic() + _START_S
        while self.secretsctl("status", "--json").code != 0:
            assert self._daemon.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(10)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
            self._daemon = None

    @property
    def pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid

    def secretsctl(self, *arguments: str) -> Said:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "secretsd.cli", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=90,
        )
        return Said(done.returncode, done.stdout, time.monotonic() - began)

    def status(self) -> dict[str, dict[str, Any]]:
        """The bundles' part of `status --json`."""
        found: dict[str, dict[str, Any]] = json.loads(self.secretsctl("status", "--json").text)["bundles"]
        return found

    def published(self, bundle: str) -> str | None:
        """The text of the bundle's file "env"; None where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return (self.run_dir / bundle / "env").read_text(encoding="utf-8")
        return None

    @contextlib.contextmanager
    def largest_worker_kib(self) -> Iterator[list[int]]:
        """Looks at the workers all the time inside the block; what it yields holds their highest VmPeak."""
        highest, stop = [0], threading.Event()

        def look() -> None:
            while not stop.wait(0.01):
                for zygote in children_of(self.pid):
                    for worker in children_of(zygote):
                        highest[0] = max(highest[0], _peak_kib(worker))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield highest
        finally:
            stop.set()
            thread.join()


def _peak_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmPeak:"):
                return int(line.split()[1])
    return 0
