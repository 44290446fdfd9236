"""The audit log of a daemon that goes on where it cannot be written. `AuditLog` alone is for one that stops.

What the daemon does by itself it does anyway, and what was lost is counted and told; what somebody asks for
waits for `durable`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from secretsd.audit import record
from secretsd.audit.keeper import Keeper
from secretsd.audit.log import AUDIT_GROUP, AuditLog
from secretsd.audit.withheld import Withheld
from secretsd.errors import LocalIOError

log = logging.getLogger(__name__)


class NotOnRecordError(LocalIOError):
    """What was asked for is not done, since the trail could not say who asked."""

    code = "audit-unavailable"


class Ledger:
    """DIRECTORY/DAEMON.jsonl. All methods are for the event loop's thread; none but `durable` waits."""

    def __init__(self, directory: Path, daemon: str, *, max_file_bytes: int) -> None:
        self._withheld = Withheld()
        self._directory = directory
        self._log = AuditLog(directory, group=AUDIT_GROUP, daemon=daemon, max_file_bytes=max_file_bytes)
        self._why_closed = "it is not open"  # empty while it is
        self._unwritten = 0  # records of the time when it was not open
        self._told_problem = ""
        self._keeper = Keeper(self._log.path, self._looked)

    def open(self) -> None:
        """Begins to write. What keeps it from that is `problem`, and `look` tries again."""
        try:
            self._log.open()
        except LocalIOError as error:
            self._why_closed = str(error)
            return
        self._why_closed = ""
        if self._unwritten:
            lost, self._unwritten = self._unwritten, 0
            self._log.append(record.event("recovery", reason="not-open", details={"lost": lost}))

    def resize(self, max_file_bytes: int) -> None:
        """How long files may become from now on."""
        self._log.resize(max_file_bytes)

    def write(self, members: str) -> None:
        """Adds a record; never raises. It is on disk within 50 ms where the disk is well."""
        if self._why_closed:
            self._unwritten += 1
        else:
            self._log.append(members)
        self._keeper.stir()

    def is_to_be_recorded(self, uid: int, now: float) -> bool:
        """Whether a refusal of this user gets a record at `now`, in monotonic seconds; else it is counted."""
        self._keeper.stir()
        return self._withheld.is_to_be_recorded(uid, now)

    def look(self) -> None:
        """Sees that the file is there and can be written."""
        if self._why_closed:
            self.open()
        else:
            self._log.look()
        for members in self._withheld.told():
            self.write(members)
        former, self._told_problem = self._told_problem, self.problem
        if self._told_problem and not former:
            log.error("audit log cannot be written", extra={"reason": self._told_problem})
        elif former and not self._told_problem:
            log.info("audit log is written again")

    @property
    def last_number(self) -> int:
        """Of the record that was added last."""
        return self._log.last_number

    @property
    def lost(self) -> int:
        """Records that no record has told of yet."""
        return self._log.lost + self._unwritten

    async def keep(self) -> None:
        """Looks whenever there may be something to see, for ever."""
        await self._keeper.run()

    async def durable(self) -> None:
        """Returns when all that was written is on the disk; within 250 ms and a little.

        Raises: NotOnRecordError where it is not, or cannot be.
        """
        if not self._why_closed:
            with contextlib.suppress(OSError):
                return await self._log.durable()
        why = self._why or "it took too long"
        raise NotOnRecordError(
            f"the audit log cannot be written ({why}), and without it this is not done",
            advice=f"look at owner, mode and free room of {self._directory}; refreshes go on meanwhile",
        )

    def close(self) -> None:
        """Writes what there is, for at most 5 s, and ends."""
        if not self._why_closed:
            self._log.close()
            self._why_closed = "the daemon ends"

    @property
    def problem(self) -> str:
        """Why orders are refused now, and the fix; empty while the log can be written."""
        if not (why := self._why):
            return ""
        lost = self._unwritten if self._why_closed else self._log.lost
        gone = f", {lost} records are lost so far" if lost else ""
        return (
            f"the audit log cannot be written ({why}){gone}: hold, resume, rollback and reload are refused,"
            " refreshes go on; look at its owner, its mode and the free room"
        )

    def _looked(self) -> bool:
        self.look()
        return bool(self.problem)

    @property
    def _why(self) -> str:
        if self._why_closed:
            return self._why_closed
        error = self._log.trouble
        return "" if error is None else f"{self._directory}: {os.strerror(error.errno or 0)}"
