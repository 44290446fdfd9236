"""A lab machine with the package as the figures need it, and the memory of its processes."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import needs
from tests.lab.aws import FakeAws
from tests.lab.lab import Lab
from tests.lab.processes import Process
from tests.system.machine import Machine, eventually

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("secretsd.service", "secretsd-notify.service")
_ZYGOTE = "secretsd.refresh.worker.zygote"
_ZYGOTE_ENDS_S = 75.0


@contextmanager
def installed(suite: str = "bookworm") -> Iterator[Machine]:
    """A booted Debian 12 with the package of this tree, configured for a local moto, without bundles.

    Raises SystemExit where this machine cannot run one, with the fix.
    """
    if (reason := needs.missing()) is not None:
        raise SystemExit(reason)
    with FakeAws.local() as aws, Lab(suite, aws, deb=package()) as lab:
        machine = Machine(lab)
        machine.configure()
        yield machine


def processes(machine: Machine) -> list[Process]:
    """Every process of secretsd's units: conductor, zygote, workers, notify helper."""
    return [process for process in machine.host.processes() if _unit_of(process) in UNITS]


def zygotes(machine: Machine) -> list[Process]:
    """The zygote and the workers that it has forked."""
    return [process for process in processes(machine) if any(_ZYGOTE in word for word in process.argv)]


def pss_mib(members: list[Process]) -> float:
    """Proportional set size of all of them together, in MiB; one that has ended counts nothing."""
    kib = 0
    for process in members:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process.pid_outside}/smaps_rollup").read_text()
            kib += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return kib / 1024


@contextmanager
def highest_pss_mib(machine: Machine) -> Iterator[list[float]]:
    """Samples the memory all the time inside the block; what it yields holds the highest afterwards."""
    highest = [0.0]
    stop = threading.Event()

    def sample() -> None:
        while not stop.is_set():
            highest[0] = max(highest[0], pss_mib(processes(machine)))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield highest
    finally:
        stop.set()
        thread.join()


def make_idle(machine: Machine) -> None:
    """Returns when zygote and notify helper have ended by themselves, as they do a while after work."""
    eventually(lambda: len(processes(machine)) == 1, "only the conductor runs", timeout_s=_ZYGOTE_ENDS_S)


def package() -> Path:
    """The package as it is built from this tree. Raises SystemExit where it cannot be."""
    built = subprocess.run(
        [ROOT / "packaging" / "build-deb"], check=False, capture_output=True, encoding="utf-8"
    )
    if built.returncode != 0:
        raise SystemExit(built.stderr)
    return Path(built.stdout.splitlines()[-1])


def _unit_of(process: Process) -> str:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{process.pid_outside}/cgroup").read_text().splitlines()
        return lines[-1].rpartition("/")[2]
    return ""
