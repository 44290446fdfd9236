"""A lab machine, and all places where secretsd's daemons on it could leave a secret."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.canary import allowed, asking, memory, processes
from tests.canary.asking import Door
from tests.canary.scan import Trace, Tree, traces_in
from tests.canary.spellings import Needles, needles
from tests.canary.tally import Tally
from tests.lab.processes import Process

# What setup-softhsm makes is random: it is looked for as it is.
_PINS = ("etc/credstore/hsm-pin", "etc/credstore/hsm-so-pin")
_JOURNAL = "timeout 5 journalctl --sync; exec journalctl --no-pager --all --output=export"
_MEMORIES = ("run", "tmp", "dev/shm")  # of the machine; all else is its disk


class Host(Protocol):
    """What the gate needs to know of a machine."""

    put_there: set[str]  # files that the test itself has written

    @property
    def leader(self) -> int: ...

    @property
    def disk(self) -> Path: ...

    def run(self, argv: list[str], *, check: bool, timeout_s: float) -> subprocess.CompletedProcess[str]: ...

    def processes(self) -> list[Process]: ...


class WatchedMachine:
    """It looks from outside, as root, and asks nothing that the machine's own state could answer wrongly."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def key(self) -> object:
        return id(self._host)

    @property
    def is_alive(self) -> bool:
        """From its first boot until its disk is gone: whoever ends it releases it."""
        return True

    def traces(self, wanted: Needles, tally: Tally) -> Iterator[Trace]:
        root = Path(f"/proc/{self._host.leader}/root")
        if not (root / "usr/sbin/secretsd").exists():
            return
        tally.machines += 1
        pins = [(root / pin).read_text().strip() for pin in _PINS if (root / pin).exists()]
        of_pins = {needle: form for pin in pins for needle, form in needles(pin).items()}
        wanted = {**wanted, **of_pins}
        roles = processes.on_machine(process.pid_outside for process in self._host.processes())
        for pid, role in roles.items():
            may_have = of_pins if role in allowed.WITH_THE_PIN else {}
            yield from memory.Process(pid, role, may_have).traces(wanted, tally)
        for role, door in self._doors(root, roles):
            yield from door.traces(wanted, tally, role)
        yield from traces_in(self._journal(), "journal", wanted)
        for place, tree in self._trees(root):
            yield from tree.traces(wanted, tally, place)

    def _doors(self, root: Path, roles: dict[int, str]) -> Iterator[tuple[str, Door]]:
        """Of those that run: to ask at a socket of systemd's starts whoever is behind it."""
        running = {role for pid, role in roles.items() if not processes.is_stopped(pid)}
        if "conductor" in running:
            yield "conductor", Door(root / "run/secretsd/metrics.sock", asking.MONITORING)
            yield "conductor", Door(root / "run/secretsd/control.sock", asking.CONTROL)
        if "signer" in running:
            yield "signer", Door(root / "run/secretsd-signer/metrics.sock", asking.MONITORING)
            yield "signer", Door(root / "run/secretsd-signer/signer.sock", asking.SIGNER)
        if "shipper" in running:
            yield "shipper", Door(root / "run/secretsd-shipper/metrics.sock", asking.MONITORING)

    def _trees(self, root: Path) -> Iterator[tuple[str, Tree]]:
        # Its volatile journal is left out: `_journal` has read it, and a file of it may be compressed.
        for top in _MEMORIES:
            yield f"/{top}", Tree(root / top, lambda path, top=top: self._is_allowed(f"/{top}{path}"))  # type: ignore[misc]
        yield "disk:", Tree(self._host.disk, self._is_allowed)

    def _is_allowed(self, path: str) -> bool:
        return (
            path in self._host.put_there or path.startswith("/run/log/journal/") or allowed.on_machine(path)
        )

    def _journal(self) -> str:
        """All that it has, of this boot and of those that are kept; as far as journald answers."""
        return self._host.run(["sh", "-c", _JOURNAL], check=False, timeout_s=30.0).stdout
