"""A daemon that a test runs on this machine, and all places where it could leave a secret."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.canary import allowed, asking, processes
from tests.canary.asking import Door
from tests.canary.memory import Process
from tests.canary.scan import Trace, Tree, traces_in
from tests.canary.spellings import Needles, needles
from tests.canary.tally import Tally


def _nobody() -> int | None:
    return None


class Watched:
    """What runs from `config`, writes to `logs` and plays `role`; `living` is its pid while it runs.

    Its places are those of the configuration, wherever they are; `said` is what else it has written.
    """

    def __init__(
        self,
        role: str,
        config: Path,
        logs: Sequence[Path] = (),
        living: Callable[[], int | None] = _nobody,
    ) -> None:
        self.role, self.config, self.logs = role, config, logs
        self.said = ""
        self._living = living
        self._tables: Mapping[str, Any] = {}

    @property
    def key(self) -> object:
        return self.role, self.config

    @property
    def pid(self) -> int | None:
        return self._living()

    @property
    def is_alive(self) -> bool:
        return self.pid is not None

    def traces(self, wanted: Needles, tally: Tally) -> Iterator[Trace]:
        pid = self.pid
        family = {} if pid is None else processes.family(pid, self.role)
        tally.daemons += bool(family)
        for member, role in family.items():
            # The lab's PINs have the mark in them, and so has what its signers sign.
            may_have = needles() if role in allowed.WITH_THE_PIN else {}
            yield from Process(member, role, may_have).traces(wanted, tally)
        if pid is not None and not processes.is_stopped(pid):
            for door in self._doors():
                yield from door.traces(wanted, tally, self.role)
        for tree in self._trees():
            yield from tree.traces(wanted, tally)
        yield from traces_in(self.said, f"output of {self.role}", wanted)
        for log in filter(Path.exists, self.logs):
            yield from traces_in(log.read_bytes(), f"log {log.name}", wanted)
            tally.files += 1

    def _trees(self) -> Iterator[Tree]:
        daemon, signer, audit = (self._table(name) for name in ("daemon", "signer", "audit"))
        states = (daemon.get("state_dir"), signer.get("state_dir"), audit.get("shipper_state_dir"))
        yield from (Tree(Path(state)) for state in states if state)
        if runtime := daemon.get("runtime_dir"):
            yield Tree(Path(runtime), allowed.in_runtime_dir)

    def _doors(self) -> Iterator[Door]:
        """Where the configuration has them; not where they are by default in an installed system."""
        daemon, metrics, signer = (self._table(name) for name in ("daemon", "metrics", "signer"))
        if self.role == "conductor" and (runtime := daemon.get("runtime_dir")):
            yield Door(Path(metrics.get("socket", f"{runtime}/metrics.sock")), asking.MONITORING)
            yield Door(Path(daemon.get("control_socket", f"{runtime}/control.sock")), asking.CONTROL)
        if self.role == "signer" and (socket := signer.get("socket")):
            beside = Path(socket).with_name("metrics.sock")
            yield Door(Path(signer.get("metrics_socket", beside)), asking.MONITORING)
            yield Door(Path(socket), asking.SIGNER)
        if self.role == "shipper" and (socket := self._table("audit").get("shipper_metrics_socket")):
            yield Door(Path(socket), asking.MONITORING)

    def _table(self, name: str) -> Mapping[str, Any]:
        """Of the configuration, or of the last one that could be read: tests break it."""
        with contextlib.suppress(OSError, ValueError):
            self._tables = tomllib.loads(self.config.read_text(encoding="utf-8"))
        found = self._tables.get(name, {})
        return found if isinstance(found, dict) else {}
