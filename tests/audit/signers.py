"""A real signer on a token of SoftHSM, and bots that sign with strict keys as fast as it answers.

Each bot has a key of its own and asks for one signature after the other, so that the first of its requests on
record, as many as were answered, are those that were.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from secretsd import client
from tests.signing.daemon import Daemon

_BOTS = 4
_PATIENCE_S = 1.0  # so long a bot waits for a signer that was killed

# Of one life of the signer: how many answers each key's bot has.
Answers = dict[str, int]


class Signed:
    """The signer, in `folder`; `lives` has the answers of each of its processes."""

    def __init__(self, folder: Path) -> None:
        self.keys = [f"strict-{number}" for number in range(_BOTS)]
        self.daemon = Daemon(folder, {key: {"type": "hmac", "operations": ["hmac"]} for key in self.keys})
        self.directory = folder / "state" / "audit"
        self.lives: list[Answers] = []

    @property
    def path(self) -> Path:
        return self.directory / "signer.jsonl"

    def start(self) -> None:
        """Another process; the first one makes the keys."""
        self.daemon.start()
        if not self.lives:
            self.daemon.generate(*self.keys)
        self.lives.append(dict.fromkeys(self.keys, 0))

    def kill(self) -> None:
        self.daemon.process.kill()
        self.daemon.process.wait()

    @contextlib.contextmanager
    def under_load(self) -> Iterator[None]:
        """Bots at work inside of this, until it ends or the signer does."""
        stop = threading.Event()
        bots = [threading.Thread(target=self._sign, args=(key, stop)) for key in self.keys]
        for bot in bots:
            bot.start()
        try:
            yield
        finally:
            stop.set()
            for bot in bots:
                bot.join()

    def _sign(self, key: str, stop: threading.Event) -> None:
        with contextlib.suppress(client.SigningError), self.daemon.signer(_PATIENCE_S) as signer:
            while not stop.is_set():
                signer.hmac(key, b"fake message")
                self.lives[-1][key] += 1


def signatures_lost(lines: Iterable[bytes], lives: Iterable[Answers]) -> int:
    """How many that were answered are not on record with intent and outcome."""
    return sum(
        _lost(asked.get(key, {}), answers)
        for life, asked in zip(lives, _asked(lines), strict=True)
        for key, answers in life.items()
    )


def _lost(asked: dict[int, list[object]], answers: int) -> int:
    results = [asked[number] for number in sorted(asked)][:answers]
    return answers - results.count([None, "ok"])


def _asked(lines: Iterable[bytes]) -> list[dict[str, dict[int, list[object]]]]:
    """For each life the results of each request of each key."""
    lives: list[dict[str, dict[int, list[object]]]] = []
    for line in lines:
        record = json.loads(line) if line.startswith(b'{"seq":') else {}
        if record.get("action") == "open":
            lives.append({})
        elif record.get("action") == "hmac":
            lives[-1].setdefault(record["key"], {}).setdefault(record["request"], []).append(
                record.get("result")
            )
    return lives
