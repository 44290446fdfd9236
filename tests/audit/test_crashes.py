"""kill -9 at any moment: what was acknowledged is on disk, each line can be read or is named as torn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from secretsd.audit import chain
from tests.audit.kills import REFRESHER, ROOT, SIGNER, Writer
from tests.bench import audit_kills, injection
from tests.bench.figures import Figure, table

# With SECRETSD_SOAK=1 (make soak) all of them.
_SOAK = os.environ.get("SECRETSD_SOAK") == "1"
_KILLS = audit_kills.KILLS if _SOAK else 15
_DAEMON_KILLS = audit_kills.DAEMON_KILLS if _SOAK else 2


def promised(figures: list[Figure]) -> None:
    """Prints them; each is what it must be."""
    print("", table(figures), sep="\n")
    assert [each for each in figures if each.verdict != "met"] == []


@pytest.mark.parametrize("writer", [SIGNER, REFRESHER], ids=lambda writer: writer.daemon)
def test_kill_9_under_load_loses_no_acknowledged_record_and_leaves_no_unreadable_line(
    writer: Writer, tmp_path: Path
) -> None:
    promised(audit_kills.writer(writer, tmp_path, _KILLS))


def test_kill_9_of_the_signer_loses_no_signature_that_it_has_answered(tmp_path: Path) -> None:
    promised(audit_kills.signer(tmp_path, _DAEMON_KILLS))


def test_kill_9_of_the_refresher_loses_no_order_that_it_has_answered(tmp_path: Path) -> None:
    promised(audit_kills.daemon(tmp_path, _DAEMON_KILLS))


def test_each_acknowledgement_comes_after_an_fdatasync_of_its_record(tmp_path: Path) -> None:
    if (reason := injection.missing()) is not None:
        pytest.skip(reason)
    promised(audit_kills.synced(tmp_path, audit_kills.TRACED))


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
        [sys.executable, "-c", program, directory], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["[Errno 27] File too large 0", "None"]
    with (directory / "signer.jsonl").open("rb") as lines:
        verdict = chain.verify(lines)
    assert (verdict.flaw, verdict.torn, verdict.records) == (None, (), 13)
