"""kill -9 of whoever writes a trail, under load: nothing that was answered is lost, every line can be read.

    python -m tests.bench.audit_kills [DIRECTORY]

On the disk of DIRECTORY, by default /var/tmp: another temporary directory may be in memory. The writers are
processes that use the trails as the daemons do, then the real daemons: a signer with bots at its socket, a
refresher with operators.
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
    Found,
    Writer,
    finds_what_is_planted,
    judged,
    killed,
    left_by_a_rotation,
)
from tests.audit.operators import Ordered
from tests.audit.signers import Signed, signatures_lost
from tests.bench import injection
from tests.bench.figures import Figure, table

KILLS, DAEMON_KILLS, TRACED = 1000, 100, 200
_DISK = Path("/var/tmp")
_SIGNED = b'"action":"hmac"'
_SHORTEST_S, _LONGEST_S = 0.05, 0.4  # of the daemon's lives, under load


def measure(directory: Path | None = None) -> list[Figure]:
    """All of it, on the disk of `directory`."""
    with tempfile.TemporaryDirectory(dir=directory or _DISK, prefix="audit-kills-") as place:
        folder = Path(place)
        figures = [*writer(SIGNER, folder, KILLS), *writer(REFRESHER, folder, KILLS)]
        figures += [*signer(folder, DAEMON_KILLS), *daemon(folder, DAEMON_KILLS)]
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


def signer(folder: Path, kills: int) -> list[Figure]:
    """As many kills of the real signer, with bots at its socket."""
    signed, moments = Signed(folder / "signing"), random.Random(4)
    for _ in range(kills):
        signed.start()
        with signed.under_load():
            time.sleep(moments.uniform(_SHORTEST_S, _LONGEST_S))
            signed.kill()
    signed.start()
    signed.daemon.stop()
    lines, answers = signed.path.read_bytes().splitlines(), sum(sum(each.values()) for each in signed.lives)
    planted = (lines[:number] + lines[number + 1 :] for number, line in enumerate(lines) if _SIGNED in line)
    assert any(signatures_lost(each, signed.lives) == 1 for each in planted), "a planted loss is found"
    what = f"signer, the daemon, killed {kills} times"
    return [
        _lost(what, signatures_lost(lines, signed.lives), answers),
        _unreadable(what, judged(SIGNER, signed.directory, []), 0),
    ]


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
    return [_lost(what, len(found.lost), found.acknowledged), _unreadable(what, found, rotating)]


def _lost(what: str, lost: int, answered: int) -> Figure:
    note = f"of {answered} that were answered; a planted one was found"
    return Figure(f"{what}: acknowledged records lost", lost, "", 0, exactly=True, note=note)


def _unreadable(what: str, found: Found, rotating: int) -> Figure:
    files = f"{found.records} records, {found.files} files, {rotating} kills within a rotation"
    torn = f"{files}, {found.torn} torn lines, each named by the record behind it"
    is_found = int(found.unreadable != "")
    return Figure(f"{what}: unreadable lines", is_found, "", 0, exactly=True, note=found.unreadable or torn)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    print(table(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
