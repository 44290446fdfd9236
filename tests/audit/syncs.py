"""What strace sees of a writer: which answers left it before an fdatasync that came after their record."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.audit.kills import REFRESHER, ROOT, SIGNER, Writer
from tests.audit.operators import Ordered
from tests.lab.tracing import traced

_CALLS = "trace=write,sendto,fdatasync"
_LONGEST = "1000000"  # bytes of a call that are shown


@dataclass(frozen=True, slots=True)
class Seen:
    """The calls of a writer; `answer` and `record` find the numbers in what it has written."""

    calls: list[str]
    answer: re.Pattern[str]
    record: re.Pattern[str]

    def too_early(self) -> list[int]:
        """The numbers whose answer was written before their record was on the disk."""
        return _too_early(self.calls, self.answer, self.record)

    def without_syncs(self) -> list[int]:
        """The same as if there had been no fdatasync: it must find every answer."""
        return _too_early([call for call in self.calls if "fdatasync" not in call], self.answer, self.record)


_TO_STDOUT = re.compile(r'write\(1, "(\d+)\\n"')
_TO_AN_OPERATOR = re.compile(r'(?:write|sendto)\(\d+, "65 .*generation (\d+) is not kept')
_OUTCOME = re.compile(r'\\"phase\\":\\"outcome\\",\\"request\\":(\d+),')
_INTENT = re.compile(r'\\"phase\\":\\"intent\\",[^{}]*\\"generation\\":(\d+),')


def seen_of(writer: Writer, directory: Path, trace: Path, count: int) -> Seen:
    """Traces a writer of `count` records or orders from its beginning to its end."""
    strace = ["strace", "-f", "-s", _LONGEST, "-e", _CALLS, "-o", str(trace)]
    command = [*strace, *writer.command(directory, 1, count)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return Seen(_lines(trace), _TO_STDOUT, {SIGNER: _OUTCOME, REFRESHER: _INTENT}[writer])


def seen_of_the_daemon(folder: Path, trace: Path, count: int) -> Seen:
    """Traces a real daemon while it is given at least `count` orders over its socket."""
    ordered = Ordered(folder)
    with ordered.daemon:
        assert ordered.daemon.secretsctl("wait", "bot").code == 0  # from then on answers have the number
        with traced(ordered.daemon.pid, "-s", _LONGEST, "-e", _CALLS, output=trace):
            ordered.answers(count)
    return Seen(_lines(trace), _TO_AN_OPERATOR, _INTENT)


def _too_early(calls: Iterable[str], answer: re.Pattern[str], record: re.Pattern[str]) -> list[int]:
    written: set[int] = set()
    syncing: set[int] = set()  # written when the last fdatasync began
    synced: set[int] = set()
    early = []
    for call in calls:
        if found := answer.search(call):
            if int(found[1]) not in synced:
                early.append(int(found[1]))
        elif "write(" in call:
            written |= {int(each) for each in record.findall(call)}
        if "fdatasync(" in call:
            syncing = set(written)
        if "fdatasync" in call and call.endswith("= 0"):
            synced |= syncing
    return early


def _lines(trace: Path) -> list[str]:
    return trace.read_text(errors="replace").splitlines()
