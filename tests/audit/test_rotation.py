"""A full file is followed by another, and whatever happens in between, the chain is one."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from secretsd.audit import archive, chain
from secretsd.audit.archive import Walked
from secretsd.audit.log import AuditLog
from tests.audit.test_log import append, committed, run, said, until

_ROOT = Path(__file__).resolve().parents[2]
_SMALL = 1_000  # bytes: less than a batch of `fill`


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def walked(directory: Path) -> Walked:
    with ExitStack() as stack:
        (pieces,) = archive.opened([directory], stack)
        return archive.walk(pieces)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def is_settled(directory: Path) -> bool:
    """No new file is being begun."""
    return (directory / "signer.jsonl").stat().st_nlink == 1 and "signer.new" not in names(directory)


async def fill(audit: AuditLog, batches: int = 6) -> None:
    audit.resize(_SMALL)
    for _ in range(batches):
        append(audit, 6)
        assert await committed(audit) is None


def test_full_files_are_kept_by_the_number_of_their_first_record_and_the_chain_goes_on(
    directory: Path,
) -> None:
    run(directory, fill)
    current = "signer.jsonl"
    assert len(names(directory)) >= 5
    assert names(directory)[0] == "signer-00000000000000000001.jsonl"
    found = walked(directory)
    assert (found.flaw, found.records, found.head.seq, found.follows.seq) == (None, 37, 37, 0)
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640
        if path.name != current:
            first = chain.head_of(path.read_bytes().splitlines(keepends=True)[1])
            assert first is not None
            assert path.name == f"signer-{first.seq:020d}.jsonl"


def test_a_restart_goes_on_in_the_last_file_and_names_it_right_when_it_is_full(directory: Path) -> None:
    for _ in range(3):
        run(directory, fill)
    assert walked(directory).flaw is None
    assert len(names(directory)) > 10


def test_a_new_file_that_cannot_be_begun_refuses_nobody_and_is_said(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def steps(audit: AuditLog) -> None:
        monkeypatch.setattr(os, "link", full)
        await fill(audit, 2)
        await until(lambda: bool(said(directory / "signer.jsonl", "not-rotated")))
        assert audit.trouble is None
        monkeypatch.setattr(os, "link", link)
        await fill(audit)

    run(directory, steps)
    assert b'"error":"ENOSPC"' in said(directory / "signer-00000000000000000001.jsonl", "not-rotated")[0]
    assert walked(directory).flaw is None
    assert "signer.new" not in names(directory)


def test_what_is_taken_away_after_a_rotation_comes_back_as_itself(directory: Path) -> None:
    async def steps(audit: AuditLog) -> None:
        await fill(audit, 2)
        await until(lambda: "signer-00000000000000000008.jsonl" in names(directory) and is_settled(directory))
        (directory / "signer.jsonl").unlink()
        append(audit)
        assert await committed(audit) is None
        await fill(audit, 2)

    run(directory, steps)
    found = walked(directory)
    assert (found.flaw, found.follows.seq) == (None, 0)
    assert names(directory)[2] == "signer-00000000000000000014.jsonl"


def test_a_chain_that_was_begun_anew_does_not_hide_the_one_before(directory: Path) -> None:
    run(directory, fill)
    old = {name: (directory / name).read_bytes() for name in names(directory)}
    (directory / "signer.jsonl").unlink()
    run(directory, fill)
    for name, text in old.items():
        assert name == "signer.jsonl" or (directory / name).read_bytes() == text
    flaw = walked(directory).flaw
    assert flaw is not None
    assert "does not go on where the one before ended" in flaw.why


def test_a_file_that_is_missing_in_the_middle_is_found(directory: Path) -> None:
    run(directory, fill)
    (directory / names(directory)[2]).unlink()
    assert walked(directory).flaw is not None
    # The oldest ones may be gone: whoever has shipped them takes them away.
    for name in names(directory)[:2]:
        (directory / name).unlink()
    found = walked(directory)
    assert found.flaw is None
    assert found.follows.seq > 0


_PROGRAM = """
import asyncio, pathlib, sys
from tests.audit.test_rotation import fill
from tests.audit.test_log import run
run(pathlib.Path(sys.argv[1]), fill)
"""
# All that the thread does between the last batch of one file and the first of the next.
_STEPS = (
    "unlink",
    "openat",
    "fchmod",
    "write",
    "fdatasync",
    "link",
    "linkat",
    "rename",
    "fsync",
    "flock",
    "close",
)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("call", _STEPS)
def test_kill_9_at_any_step_of_a_rotation_leaves_one_chain(
    directory: Path, tmp_path: Path, call: str
) -> None:
    killed = 0
    for number in (1, 2, 3, 4, 5):
        place = directory / str(number)
        trace = tmp_path / "trace"
        inject = [
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=SIGKILL:when={number}",
            "-P",
            str(place),
        ]
        inject += [word for name in ("signer.jsonl", "signer.new") for word in ("-P", str(place / name))]
        run(place, fill_once)
        program = [sys.executable, "-c", _PROGRAM, str(place)]
        done = subprocess.run(["strace", "-f", "-o", str(trace), *inject, *program], cwd=_ROOT, check=False)
        killed += bool(re.search(r"killed by SIGKILL", trace.read_text()))
        before = walked(place)
        assert before.flaw is None, (call, number, before)
        run(place, fill)
        after = walked(place)
        assert (after.flaw, after.is_unfinished) == (None, False), (call, number, after)
        assert after.head.seq > before.head.seq
        if done.returncode == 0:
            break
    assert killed or call in ("link", "linkat"), "nothing was ever killed here"


async def fill_once(audit: AuditLog) -> None:
    await fill(audit, 1)
