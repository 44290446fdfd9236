"""The real audit log writes, rotates and mends; what is restored of it is what `log --verify` takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secretsd.audit import chain
from secretsd.audit.chain import Head
from secretsd.audit.log import AuditLog
from secretsd.cli.main import run as secretsctl
from secretsd.shipping.courier import ChainPlace
from secretsd.shipping.follow import Follower
from secretsd.shipping.proof.restore import Restored
from secretsd.shipping.proof.verification import Part, Verdict, verify
from tests.audit.test_log import append, committed, run
from tests.shipping.bed import HOST, Memory, Shipper

_SMALL = 1_000  # bytes: less than a batch


def shipped(directory: Path, away: Path | None = None) -> Shipper:
    """A life of the log with everything that happens to its files, shipped now and then.

    With `away` the file is moved there, once in each of its three lives.
    """
    shipper = Shipper(ChainPlace("signer", directory), Memory())

    async def live(audit: AuditLog) -> None:
        audit.resize(_SMALL)
        for number in range(12):
            append(audit, 6)
            assert await committed(audit) is None
            if number % 3 == 0:
                shipper.ship(limit_bytes=1500)
            if number == 5:
                (directory / "signer.jsonl").unlink()
            if number == 8 and away is not None:
                shipper.ship(limit_bytes=1500)  # what nobody has seen before it is moved away is a gap
                os.rename(directory / "signer.jsonl", away)
        append(audit, 1)
        assert await committed(audit) is None

    for _ in range(2):
        run(directory, live)
        with (directory / "signer.jsonl").open("ab") as file:
            file.write(b'{"seq":9,"ti')
    run(directory, live)
    shipper.ship(limit_bytes=1500)
    head = Follower(directory, "signer").latest()
    assert head is not None
    shipper.anchor(head)
    return shipper


def restored(shipper: Shipper, to: Path) -> Verdict:
    files, memory = Restored(to), shipper.memory

    def keep(part: Part) -> None:
        files.keep(HOST, "signer", part)

    return verify(HOST, "signer", memory.versions, memory.read, 0.0, keep)


def test_what_is_restored_is_what_the_log_has_written(tmp_path: Path) -> None:
    directory, trail = tmp_path / "audit", tmp_path / "trail"
    verdict = restored(shipped(directory), trail)
    head = Follower(directory, "signer").latest()
    assert head is not None
    assert len(list(directory.glob("signer-*.jsonl"))) > 15
    assert (verdict.flaw, verdict.head) == (None, head)
    anchor = f"signer:{head.seq}:{head.hash.decode()}"
    assert secretsctl(["log", "--verify", str(directory), "--anchor", anchor]) == 0
    assert secretsctl(["log", "--verify", str(trail), "--anchor", anchor]) == 0
    (first, *_) = sorted(trail.rglob("signer-*.jsonl"))
    first.write_bytes(first.read_bytes().replace(b'"action":"s', b'"action":"t', 1))
    assert secretsctl(["log", "--verify", str(trail), "--anchor", anchor]) == 65


def test_what_was_moved_away_from_the_host_is_in_the_bucket(tmp_path: Path) -> None:
    """The shipper had the file open, and read it to its end."""
    directory = tmp_path / "audit"
    shipper = shipped(directory, tmp_path / "moved-away")
    assert secretsctl(["log", "--verify", str(directory)]) == 65
    trail = tmp_path / "trail"
    verdict = restored(shipper, trail)
    head = Follower(directory, "signer").latest()
    assert head is not None
    assert (verdict.flaw, verdict.head) == (None, head)
    anchor = f"signer:{head.seq}:{head.hash.decode()}"
    assert secretsctl(["log", "--verify", str(trail), "--anchor", anchor]) == 0
    assert len(twice(trail)) > 3, "the records that were being written stand in two files"


@pytest.mark.parametrize("which", [0, 1])
def test_what_two_files_tell_differently_is_found_and_named(
    tmp_path: Path, which: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of the file that was moved away is forged with all its hashes, or the beginning of its heir."""
    trail = tmp_path / "trail"
    restored(shipped(tmp_path / "audit", tmp_path / "moved-away"), trail)
    seq, *paths = twice(trail)[0]
    lines = paths[which].read_bytes().splitlines(keepends=True)
    (at,) = [n for n, line in enumerate(lines) if line.startswith(b'{"seq":%d,' % seq)]
    head = chain.head_of(lines[at - 1])
    assert head is not None
    lines = lines[:at]
    for number in range(9 if which else 1):
        body = b'{"seq":%d,"time":"2026-03-01T12:00:00.000000Z","action":"forged"' % (seq + number)
        digest, line = chain.seal(head.hash, body)
        head = Head(seq + number, digest)
        lines.append(line)
    paths[which].write_bytes(b"".join(lines))
    assert secretsctl(["log", "--verify", str(trail)]) == 65
    assert f"  record {seq}, " in capsys.readouterr().out


def twice(trail: Path) -> list[tuple[int, Path, Path]]:
    """Records that stand in two files: their numbers, and the files in their order."""
    found: dict[int, list[Path]] = {}
    for path in sorted(trail.rglob("signer-*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True)[1:]:
            if (head := chain.head_of(line)) is not None:
                found.setdefault(head.seq, []).append(path)
    return [(seq, *paths) for seq, paths in sorted(found.items()) if len(paths) == 2]
