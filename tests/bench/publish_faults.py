"""The publish step, killed before each of its system calls and with each of eight errors at each.

    python -m tests.bench.publish_faults [--every N] [--seed S] [--scenario NAME]

Needs root and strace. Prints how many system calls there are and what became of every case: a reader must
see the old bundle or the new one, whole; the next start must leave no leftovers; the next publish must work.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from secretsd.errors import FailureError
from secretsd.model import CURRENT_STAGE, Candidate, SecretRef, SecretVersion
from secretsd.refresh import published
from secretsd.refresh.memory import memory_kind
from secretsd.refresh.publish import Owner, RenderedFile, publish
from tests.bench import bundle_checks as checks
from tests.bench import daemon_user, injection
from tests.bench.figures import Figure
from tests.bench.injection import Call, InjectionError, Subject

# By name, how many generations were published before the one that meets the faults.
SCENARIOS = {"first": 0, "second": 1, "third": 2}

_PUBLISHED, _FAILED, _NO_MEMORY, _UNNAMED = 0, 3, 4, 5
_OUTCOMES = {
    None: "killed",
    _PUBLISHED: "published all the same",
    _FAILED: "refused with a named error",
    _NO_MEMORY: "out of memory in Python itself",
}
_PROCESSES = 2
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one system call of one scenario."""

    scenario: str
    call: Call
    fault: str

    def __str__(self) -> str:
        return f"{self.scenario} publish, {self.fault} at {self.call}"


@dataclass(slots=True)
class Report:
    """What all cases came to; `findings` has a sentence for each promise that was not kept."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        for scenario, calls in self.calls.items():
            names = Counter(call.name for call in calls)
            told = ", ".join(f"{name} {count}" for name, count in names.most_common())
            yield f"{scenario} publish: N = {len(calls)} system calls ({told})"
        matrix = sum(map(len, self.calls.values())) * len(injection.FAULTS)
        yield f"{self.cases} of {matrix} cases in {self.seconds:.0f} s: {len(self.findings)} findings"
        yield from (f"  {count:5} {outcome}" for outcome, count in self.outcomes.most_common())
        yield from self.findings


def run(scenarios: tuple[str, ...] = tuple(SCENARIOS), *, every: int = 1, seed: int = 0) -> Report:
    """Runs each `every`th case of a shuffled matrix; the same seed shuffles alike.

    Raises: InjectionError, also where the checks miss what is planted before them.
    """
    began = time.monotonic()
    report = Report()
    with _memory() as place:
        if blind := checks.blind_spots(_make_bundle, place / "planted"):
            raise InjectionError(f"the checks are blind: {'; '.join(blind)}")
        # What the children find must not differ from one to the next: no collection of garbage in between.
        gc.freeze()
        gc.disable()
        try:
            for scenario in scenarios:
                report.calls[scenario] = _calls_of(scenario, place / "trace")
            matrix = [
                Case(scenario, call, fault)
                for scenario, calls in report.calls.items()
                for call in calls
                for fault in injection.FAULTS
            ]
            random.Random(seed).shuffle(matrix)
            _run_shares(matrix[::every], place, report)
        finally:
            gc.enable()
            gc.unfreeze()
    report.seconds = time.monotonic() - began
    return report


def _run_shares(cases: list[Case], place: Path, report: Report) -> None:
    fork = multiprocessing.get_context("fork")
    running = []
    for number in range(_PROCESSES):
        ours, theirs = fork.Pipe(duplex=False)
        share = partial(_run_share, cases[number::_PROCESSES], place / str(number), theirs)
        process = fork.Process(target=share)
        process.start()
        theirs.close()
        running.append((process, ours))
    for process, results in running:
        try:
            while (result := results.recv()) is not None:
                outcome, findings = result
                report.cases += 1
                report.outcomes[outcome] += 1
                report.findings += findings
        except EOFError:
            raise InjectionError("a process of the test ended early; see above") from None
        finally:
            process.join()


def _run_share(cases: list[Case], place: Path, results: Connection) -> None:
    for case in cases:
        results.send(_run_case(case, place))
    results.send(None)


def _run_case(case: Case, place: Path) -> tuple[str, list[str]]:
    for _ in range(_TRIES):
        try:
            return _run_once(case, place)
        except InjectionError as error:
            # Memory is asked for a call earlier or later now and then; the same case again will do.
            missed = str(error)
    return "not struck", [f"{case}: {missed}"]


def _run_once(case: Case, place: Path) -> tuple[str, list[str]]:
    old = SCENARIOS[case.scenario]
    new = old + 1
    runtime_dir = _fresh(place, old)
    with checks.opened(runtime_dir) as early:
        code = injection.inject(_subject(runtime_dir, new), place / "strace.log", case.call, case.fault)
        findings = [] if early is None else _prefixed("held open", checks.reader_findings(early, {old}))
    shown, seen = _look(runtime_dir, {new} if code == _PUBLISHED else {old, new} - {0})
    findings += _prefixed("before the next start", seen)
    if shown == 0 and (old or code == _PUBLISHED):
        findings.append("no bundle is shown")
    if code not in _OUTCOMES:
        findings.append(f"ended with {code}: an error without a name")
    findings += _next_start(runtime_dir, shown)
    findings += _next_publish(runtime_dir)
    return _OUTCOMES.get(code, "ended with a bug"), _prefixed(str(case), findings)


def _next_start(runtime_dir: Path, shown: int) -> list[str]:
    findings = []
    if daemon_user.run(partial(_start, runtime_dir, shown)) != 0:
        findings.append("the next start failed, or does not know what is published")
    again, seen = _look(runtime_dir, {shown} - {0})
    if again != shown:
        findings.append(f"generation {shown} was shown before the next start, {again} after it")
    return _prefixed("after the next start", [*findings, *seen, *checks.leftover_findings(runtime_dir)])


def _next_publish(runtime_dir: Path) -> list[str]:
    findings = []
    following = published.highest_generation(runtime_dir, checks.BUNDLE) + 1
    if daemon_user.run(partial(_publish, runtime_dir, following)) != _PUBLISHED:
        findings.append("failed")
    _, seen = _look(runtime_dir, {following})
    return _prefixed("the next publish", [*findings, *seen, *checks.leftover_findings(runtime_dir)])


def _look(runtime_dir: Path, allowed: set[int]) -> tuple[int, list[str]]:
    """The generation that a new reader sees (0: none), and what is wrong with it."""
    with checks.opened(runtime_dir) as directory:
        if directory is None:
            return 0, []
        generation = checks.generation_of(directory) or 0
        findings = checks.reader_findings(directory, allowed)
    return generation, [*findings, *checks.owner_findings(runtime_dir)]


def _prefixed(prefix: str, findings: list[str]) -> list[str]:
    return [f"{prefix}: {finding}" for finding in findings]


# --- the code under test, in children --------------------------------------------------------------------


def _calls_of(scenario: str, place: Path) -> list[Call]:
    old = SCENARIOS[scenario]
    runtime_dir = _fresh(place, old)
    return injection.calls_of(_subject(runtime_dir, old + 1), place / "strace.log")


def _subject(runtime_dir: Path, generation: int) -> Subject:
    return Subject(prepare=daemon_user.become, code=partial(_publish, runtime_dir, generation))


def _publish(runtime_dir: Path, generation: int) -> int:
    files = tuple(RenderedFile(path, content) for path, content in checks.contents(generation).items())
    owner = Owner(checks.OWNER_UID, checks.OWNER_GID)
    try:
        publish(runtime_dir, _candidate(generation), generation, files, owner)
    except FailureError:
        return _FAILED
    except MemoryError:
        return _NO_MEMORY
    except Exception:  # noqa: BLE001 - that there is such an error is the finding
        return _UNNAMED
    return _PUBLISHED


def _candidate(generation: int) -> Candidate:
    ref = SecretRef("aws", "fake/production", CURRENT_STAGE)
    return Candidate(
        bundle=checks.BUNDLE,
        digest=f"{generation:064x}",
        versions=(SecretVersion(ref, f"fake-version-{generation}", None),),
        variables=("FAKE_KEY",),
        defaults=(),
        ignored={},
    )


def _start(runtime_dir: Path, shown: int) -> int:
    """What the daemon does at its start, and whether it then knows the bundle as what it is."""
    published.prepare(runtime_dir)
    published.sweep(runtime_dir)
    record = published.read_record(runtime_dir, checks.BUNDLE)
    if record is None:
        return 1 if shown else 0
    return 0 if record.generation == shown and published.is_intact(runtime_dir, record) else 1


def _make_bundle(runtime_dir: Path, generations: int) -> None:
    runtime_dir.mkdir(mode=0o711)
    runtime_dir.chmod(0o711)
    os.chown(runtime_dir, daemon_user.UID, daemon_user.GID)

    def make() -> int:
        published.prepare(runtime_dir)
        return max((_publish(runtime_dir, number + 1) for number in range(generations)), default=_PUBLISHED)

    if daemon_user.run(make) != _PUBLISHED:
        raise InjectionError("the bundle to start from could not be published")


def _fresh(place: Path, generations: int) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o711)
    place.chmod(0o711)
    _make_bundle(place / "run", generations)
    return place / "run"


@contextmanager
def _memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="secretsd-publish-faults-") as name:
        if not memory_kind(Path(name)).is_memory:
            raise InjectionError("/dev/shm is no tmpfs: the publish step needs one, as in the service")
        Path(name).chmod(0o711)
        yield Path(name)


def measure() -> list[Figure]:
    """The whole matrix; the findings are told on stdout, too."""
    if (reason := injection.missing()) is not None:
        raise SystemExit(reason)
    report = run()
    print("\n".join(report.lines()))
    calls = " + ".join(str(len(calls)) for calls in report.calls.values())
    note = f"{report.cases} cases: {calls} system calls, SIGKILL and {len(injection.ERRNOS)} errors at each"
    return [
        Figure("publish under faults, promises broken", len(report.findings), "", 0, exactly=True, note=note)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Faults at each system call of the publish step.")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="a sample: each Nth case")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="default: all")
    options = parser.parse_args()
    if (reason := injection.missing()) is not None:
        sys.exit(reason)
    report = run(tuple(options.scenario or SCENARIOS), every=options.every, seed=options.seed)
    print("\n".join(report.lines()))
    sys.exit(1 if report.findings else 0)


if __name__ == "__main__":
    main()
