"""kill -9 at any moment: what was acknowledged is on disk, each line can be read or is named as torn."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from secretsd.audit import chain

# With SECRETSD_SOAK=1 (make soak) a thousand.
_KILLS = 1000 if os.environ.get("SECRETSD_SOAK") else 30
_EACH_RECORD_ONCE = 2  # intent and outcome
_OUTCOME = re.compile(r'\\"phase\\":\\"outcome\\",\\"request\\":(\d+),')
_ROOT = Path(__file__).resolve().parents[2]


def writer(directory: Path, first: int, count: int = 0) -> list[str]:
    return [sys.executable, "-m", "tests.audit.strict_writer", str(directory), str(first), str(count)]


def lost(lines: Iterable[bytes], acknowledged: Iterable[int]) -> list[int]:
    """The acknowledged requests that are not on record with intent and outcome."""
    on_record: dict[int, int] = {}
    for line in lines:
        if found := re.search(rb'"request":(\d+),', line):
            on_record[int(found[1])] = on_record.get(int(found[1]), 0) + 1
    return [request for request in acknowledged if on_record.get(request, 0) < _EACH_RECORD_ONCE]


def test_kill_9_under_load_loses_no_acknowledged_record_and_leaves_no_unreadable_line(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    path = directory / "signer.jsonl"
    moments = random.Random(4)  # the same moments each time
    acknowledged: list[int] = []
    for number in range(_KILLS):
        process = subprocess.Popen(writer(directory, number * 1_000_000), cwd=_ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        said = process.stdout.readline()  # it is at work
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        said += process.stdout.read()
        process.stdout.close()
        process.wait()
        assert said
        # A last number without its newline was cut by the kill.
        acknowledged += [int(line) for line in said.split(b"\n")[:-1]]
    _name_what_is_torn(directory)
    lines = path.read_bytes().splitlines(keepends=True)
    planted = [line for line in lines if b'"request":%d,' % acknowledged[-1] not in line]
    assert lost(planted, acknowledged) == acknowledged[-1:], "the check finds what is planted"
    assert chain.verify(planted).flaw is not None
    verdict = chain.verify(lines)
    print(
        f"{_KILLS} kills, {len(acknowledged)} acknowledged, {verdict.records} records, torn: {verdict.torn}"
    )
    assert lost(lines, acknowledged) == []
    assert (verdict.flaw, verdict.unfinished) == (None, None)


def _name_what_is_torn(directory: Path) -> None:
    """One more start that ends in order."""
    subprocess.run(writer(directory, 999_000_000_000, 1), cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)


def test_a_file_that_may_not_grow_refuses_and_is_whole_when_it_may(tmp_path: Path) -> None:
    """The kernel's own error and its own torn write, by RLIMIT_FSIZE."""
    program = """
import asyncio, pathlib, resource, sys
from secretsd.audit.log import AuditLog
from tests.audit.test_log import append, committed, until

async def main(directory):
    audit = AuditLog(directory, group=None)
    audit.open()
    assert await committed(audit) is None
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    length = (directory / "signer.jsonl").stat().st_size + 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, unlimited[1]))
    append(audit, 10)
    print(await committed(audit), (directory / "signer.jsonl").stat().st_size - length)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    await until(lambda: audit.trouble is None)
    append(audit)
    print(await committed(audit))
    audit.close()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""
    directory = tmp_path / "audit"
    done = subprocess.run(
        [sys.executable, "-c", program, directory], cwd=_ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["[Errno 27] File too large 0", "None"]
    with (directory / "signer.jsonl").open("rb") as lines:
        verdict = chain.verify(lines)
    assert (verdict.flaw, verdict.torn, verdict.records) == (None, (), 13)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_each_acknowledgement_comes_after_an_fdatasync_of_its_record(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-s", "1000000", "-e", "trace=write,fdatasync", "-o", str(trace)]
    subprocess.run(
        [*strace, *writer(tmp_path / "audit", 0, 200)], cwd=_ROOT, check=True, stdout=subprocess.DEVNULL
    )
    calls = trace.read_text().splitlines()
    without = [call for call in calls if "fdatasync" not in call]
    assert len(too_early(without)) == 200, "the check finds what is planted"
    assert too_early(calls) == []


def too_early(calls: Iterable[str]) -> list[int]:
    """The requests whose acknowledgement was written before an fdatasync that came after their record."""
    written: set[int] = set()
    syncing: set[int] = set()  # written when the last fdatasync began
    synced: set[int] = set()
    early = []
    for call in calls:
        if found := re.search(r'write\(1, "(\d+)\\n"', call):
            if int(found[1]) not in synced:
                early.append(int(found[1]))
        elif "write(" in call:
            written |= {int(each) for each in _OUTCOME.findall(call)}
        if "fdatasync(" in call:
            syncing = set(written)
        if "fdatasync" in call and call.endswith("= 0"):
            synced |= syncing
    return early
