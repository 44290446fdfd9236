"""What the audit log costs: a record on the loop, an answer that waits, a walk along the chain, a search.

    python -m tests.bench.audit [DIRECTORY]

On the disk of DIRECTORY, by default the current one: a temporary directory may be in memory.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path

from secretsd.audit import archive, chain, reading, record
from secretsd.audit.archive import Walked
from secretsd.audit.file import stamp
from secretsd.audit.log import MAX_FILE_BYTES, AuditLog
from secretsd.audit.query import Query
from secretsd.signing.model import Peer
from tests.bench.figures import Figure, percentile, table

_ACTOR = record.actor(Peer(4242, 1001, frozenset({1001}), "trading-bot.service", 123456))
_USE = record.use("sign", "hot-wallet", "sha2-256", _ACTOR)
_RECORDS = 1_000_000
_STRICT, _CLIENTS = 2_000, 64
_PER_MS, _LOAD_MS = 20, 3_000  # 20,000 records/s


def measure(directory: Path | None = None) -> list[Figure]:
    """All figures, on the disk of `directory`."""
    with tempfile.TemporaryDirectory(dir=directory or Path.cwd(), prefix="audit-bench-") as place:
        return [
            *_raw(Path(place)),
            *_with_log(Path(place) / "load", _appends),
            *_with_log(Path(place) / "strict", _strict),
            *_verify(Path(place) / "million"),
        ]


def _raw(directory: Path) -> list[Figure]:
    fd = os.open(directory / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    line = b"x" * 320
    spent_us = []
    for _ in range(_STRICT):
        began = time.perf_counter()
        os.write(fd, line)
        os.fdatasync(fd)
        spent_us.append((time.perf_counter() - began) * 1e6)
    os.close(fd)
    return [_spread("the disk alone: write and fdatasync of one record", spent_us)]


def _with_log(
    directory: Path, steps: Callable[[AuditLog], Coroutine[None, None, list[Figure]]]
) -> list[Figure]:
    async def main() -> list[Figure]:
        audit = AuditLog(directory, group=None)
        audit.open()
        try:
            return await steps(audit)
        finally:
            audit.close()

    return asyncio.run(main())


async def _appends(audit: AuditLog) -> list[Figure]:
    loop = asyncio.get_running_loop()
    spent_us: list[float] = []
    began_s, thread_s, process_s = loop.time(), time.thread_time(), time.process_time()
    for tick in range(_LOAD_MS):
        if (early_s := began_s + tick / 1000 - loop.time()) > 0:
            await asyncio.sleep(early_s)
        for request in range(_PER_MS):
            start = time.perf_counter()
            audit.append(record.intent(_USE, request, 1))
            spent_us.append((time.perf_counter() - start) * 1e6)
    rate = len(spent_us) / (loop.time() - began_s)
    others_s = (time.process_time() - process_s) - (time.thread_time() - thread_s)
    mean = statistics.fmean(spent_us)
    note = f"mean, p99 {percentile(spent_us, 99):.1f} us, at {rate:.0f} records/s"
    return [
        Figure("a batched record, on the loop", mean, "us", 6, note=note),
        Figure("the writer's thread for it", others_s / len(spent_us) * 1e6, "us", note="processor time"),
    ]


async def _strict(audit: AuditLog) -> list[Figure]:
    alone_us: list[float] = []
    await _client(audit, _STRICT, alone_us)
    many_us: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(_client(audit, _STRICT // 8, many_us) for _ in range(_CLIENTS)))
    rate = len(many_us) / (time.perf_counter() - began)
    return [
        _spread("a strict answer waits for, 1 client", alone_us),
        _spread(f"a strict answer waits for, {_CLIENTS} clients", many_us),
        Figure(f"strict answers, {_CLIENTS} clients", rate, "/s", note="they share fdatasyncs"),
    ]


async def _client(audit: AuditLog, count: int, spent_us: list[float]) -> None:
    loop = asyncio.get_running_loop()
    for request in range(count):
        began = time.perf_counter()
        done: asyncio.Future[OSError | None] = loop.create_future()
        audit.append(record.intent(_USE, request, 1))
        audit.append(record.outcome(_USE, request, 1))
        audit.commit(done.set_result)
        if error := await done:
            raise error
        spent_us.append((time.perf_counter() - began) * 1e6)


def _verify(directory: Path) -> list[Figure]:
    """A chain of a million records in files of the usual size, found whole; and altered where one byte is."""
    write(directory, _RECORDS)
    began = time.perf_counter()
    walked = _walked(directory)
    spent_s = time.perf_counter() - began
    altered = _RECORDS - 10
    _alter(max(directory.iterdir(), key=lambda path: path.name), altered)
    flaw = _walked(directory).flaw
    read = [
        _read(directory, Query(results=frozenset({"refused"}))),
        _read(directory, Query(since=_at(_RECORDS - 4166))),
    ]
    found = walked.flaw is None and walked.records == _RECORDS and flaw is not None and flaw.record == altered
    rate = f"{_RECORDS / spent_s:.0f} records/s, {len(walked.pieces)} files"
    return [
        Figure(f"secretsctl log --verify along {_RECORDS:,} records", spent_s, "s", note=rate),
        Figure("secretsctl log --result refused, of which there is none, in as many", read[0], "s"),
        Figure("secretsctl log --since 1h, of 10 days", read[1], "s"),
        Figure("one byte altered in them, found at its record", int(found), "", 1, exactly=True),
    ]


def write(directory: Path, count: int) -> None:
    """A chain of `count` records in files of the usual size."""
    directory.mkdir()
    head, lines, size = None, [], 0
    for seq in range(1, count + 1):
        if not lines:
            line, head = chain.opening("signer", "bench", "boot", _at(seq), head)
            lines, size, first = [line], len(line), seq
        assert head is not None
        digest, line = chain.seal(
            head.hash, f'{{"seq":{seq},"time":"{_at(seq)}",{record.intent(_USE, seq, 1)}'.encode()
        )
        head, size = chain.Head(seq, digest), size + len(line)
        lines.append(line)
        if size >= MAX_FILE_BYTES or seq == count:
            name = "signer.jsonl" if seq == count else f"signer-{first:020d}.jsonl"
            (directory / name).write_bytes(b"".join(lines))
            lines = []


def _at(seq: int) -> str:
    """A million of them in 10 days."""
    return stamp(1_772_366_400_000_000_000 + seq * 864_000_000)


def _read(directory: Path, query: Query) -> float:
    """Seconds for all that fits."""
    began = time.perf_counter()
    for _ in reading.entries([directory], query):
        pass
    return time.perf_counter() - began


def _alter(path: Path, seq: int) -> None:
    text = path.read_bytes()
    at = text.index(b'"uid":1001', text.index(b'{"seq":%d,' % seq))
    path.write_bytes(text[:at] + b'"uid":1002' + text[at + 10 :])


def _walked(directory: Path) -> Walked:
    with ExitStack() as stack:
        (pieces,) = archive.opened([directory], stack)
        return archive.walk(pieces)


def _spread(what: str, spent_us: list[float]) -> Figure:
    median, slow = statistics.median(spent_us), percentile(spent_us, 99)
    return Figure(what, median, "us", note=f"p50; p99 {slow:.0f} us")


if __name__ == "__main__":
    print(table(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
