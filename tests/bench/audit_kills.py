"""kill -9 of whoever writes a trail, under load: nothing that was answered is lost, every line can be read.

    python -m tests.bench.audit_kills [DIRECTORY]

On the disk of DIRECTORY, by default the current one: a temporary directory may be in memory. The writers are
processes that use the trails as the daemons do, and a real refresher with orders over its socket.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.audit import syncs
from tests.audit.kills import (
    REFRESHER,
    SIGNER,
    Writer,
    finds_what_is_planted,
    judged,
    killed,
    left_by_a_rotation,
)
from tests.audit.operators import Ordered
from tests.bench import injection
from tests.bench.figures import Figure, table

KILLS, DAEMON_KILLS, TRACED = 1000, 100, 200
_SHORTEST_S, _LONGEST_S = 0.05, 0.4  # of the daemon's lives, under load


def measure(directory: Path | None = None) -> list[Figure]:
    """All of it, on the disk of `directory`."""
    with tempfile.TemporaryDirectory(dir=directory or Path.cwd(), prefix="audit-kills-") as place:
        folder = Path(place)
        figures = [*writer(SIGNER, folder, KILLS), *writer(REFRESHER, folder, KILLS)]
        figures += daemon(folder, DAEMON_KILLS)
        return figures + ([] if injection.missing() else synced(folder, TRACED))


def writer(writer: Writer, folder: Path, kills: int) -> list[Figure]:
    """As many kills of a process that does nothing but write."""
    directory = folder / writer.daemon
    answered, rotating = killed(writer, directory, kills)
    return _figures(f"{writer.daemon}, killed {kills} times", writer, directory, answered, rotating)


def daemon(folder: Path, kills: int) -> list[Figure]:
    """As many kills of the real refresher, with operators at its socket."""
    (folder / "daemon").mkdir()
    ordered, moments = Ordered(folder / "daemon"), random.Random(4)
    rotating: set[int] = set()
    for _ in range(kills):
        ordered.daemon.start()
        with ordered.under_load():
            time.sleep(moments.uniform(_SHORTEST_S, _LONGEST_S))
            ordered.kill()
        ordered.daemon.stop()
        rotating |= left_by_a_rotation(ordered.path)
    with ordered.daemon:  # one more life that ends in order names what is torn
        pass
    what = f"refresher, the daemon, killed {kills} times"
    return _figures(what, REFRESHER, ordered.directory, ordered.numbers, len(rotating))


def synced(folder: Path, count: int) -> list[Figure]:
    """Whether strace sees an fdatasync before each answer."""
    seen = {
        "a strict record": syncs.seen_of(SIGNER, folder / "traced-signer", folder / "trace", count),
        "an order": syncs.seen_of(REFRESHER, folder / "traced-refresher", folder / "trace", count),
        "an order to the daemon": syncs.seen_of_the_daemon(_made(folder / "traced"), folder / "trace", count),
    }
    figures = []
    for what, each in seen.items():
        planted = len(each.without_syncs())
        assert planted >= count, f"{what}: of {count} answers {planted} were found without their fdatasync"
        note = f"strace, of {planted}; with the fdatasyncs left out of the trace all {planted} were found"
        figures.append(
            Figure(f"{what}: answers before its fdatasync", len(each.too_early()), "", 0, True, note=note)
        )
    return figures


def _figures(what: str, writer: Writer, directory: Path, answered: list[int], rotating: int) -> list[Figure]:
    assert answered
    assert finds_what_is_planted(writer, directory, answered), "a planted loss is found"
    found = judged(writer, directory, answered)
    how = f"of {found.acknowledged} that were answered; a planted one was found"
    files = f"{found.records} records, {found.files} files, {rotating} kills within a rotation"
    torn = f"{files}, {found.torn} torn lines, each named by the record behind it; a planted one was found"
    return [
        Figure(f"{what}: acknowledged records lost", len(found.lost), "", 0, exactly=True, note=how),
        Figure(
            f"{what}: unreadable lines", int(found.unreadable != ""), "", 0, exactly=True,
            note=found.unreadable or torn,
        ),
    ]  # fmt: skip


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    print(table(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
