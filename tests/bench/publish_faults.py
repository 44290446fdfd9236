"""The publish step, killed before each of its system calls and with each of eight errors at each.

    python -m tests.bench.publish_faults [--every N] [--seed S] [--scenario NAME]

Needs root and strace. Prints how many system calls there are and what became of every case: a reader must
see the old bundle or the new one, whole; the next start must leave no leftovers; the next publish must work.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from secretsd.refresh.files import published
from tests.bench import bundle_checks as checks
from tests.bench import daemon_user, injection
from tests.bench import publish_subject as subject
from tests.bench.figures import Figure
from tests.bench.injection import Call, InjectionError

# By name, how many generations were published before the one that meets the faults; the sixth removes one.
SCENARIOS = {"first": 0, "second": 1, "sixth": 5}

_OUTCOMES = {
    None: "killed",
    subject.PUBLISHED: "published all the same",
    subject.FAILED: "refused with a named error",
    subject.NO_MEMORY: "out of memory in Python itself",
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
    with subject.memory() as place:
        if blind := checks.blind_spots(subject.make_bundle, place / "planted"):
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
    missed = ""
    for _ in range(_TRIES):
        try:
            return _run_once(case, place)
        except InjectionError as error:
            # Python asks for memory a call earlier or later now and then; the same case again will do.
            missed = str(error)
    return "not struck", [f"{case}: {missed}"]


def _run_once(case: Case, place: Path) -> tuple[str, list[str]]:
    old = SCENARIOS[case.scenario]
    new = old + 1
    runtime_dir = subject.fresh(place, old)
    with checks.opened(runtime_dir) as early:
        code = injection.inject(
            subject.subject(runtime_dir, new), place / "strace.log", case.call, case.fault
        )
        findings = [] if early is None else _prefixed("held open", checks.reader_findings(early, {old}))
    shown, seen = _look(runtime_dir, {new} if code == subject.PUBLISHED else {old, new} - {0})
    findings += _prefixed("before the next start", seen)
    if shown == 0 and (old or code == subject.PUBLISHED):
        findings.append("no bundle is shown")
    if code not in _OUTCOMES:
        findings.append(f"ended with {code}: an error without a name")
    findings += _next_start(runtime_dir, shown)
    findings += _next_publish(runtime_dir)
    return _OUTCOMES.get(code, "ended with a bug"), _prefixed(str(case), findings)


def _next_start(runtime_dir: Path, shown: int) -> list[str]:
    findings = []
    if daemon_user.run(partial(subject.start, runtime_dir, shown)) != 0:
        findings.append("the next start failed, or does not know what is published")
    again, seen = _look(runtime_dir, {shown} - {0})
    if again != shown:
        findings.append(f"generation {shown} was shown before the next start, {again} after it")
    return _prefixed("after the next start", [*findings, *seen, *checks.leftover_findings(runtime_dir)])


def _next_publish(runtime_dir: Path) -> list[str]:
    findings = []
    following = published.highest_generation(runtime_dir, checks.BUNDLE) + 1
    if daemon_user.run(partial(subject.publish_generation, runtime_dir, following)) != subject.PUBLISHED:
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


def _calls_of(scenario: str, place: Path) -> list[Call]:
    old = SCENARIOS[scenario]
    runtime_dir = subject.fresh(place, old)
    return injection.calls_of(subject.subject(runtime_dir, old + 1), place / "strace.log")


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
