"""Logging: constant sentences plus fields, one line each, to standard error without ever blocking.

Under systemd standard error is the journal's stream socket. With journald stopped a blocking write would
freeze the daemon after a few megabytes, so records that do not fit are dropped and counted.
"""

from __future__ import annotations

import logging
import os
import sys
import time

from secretsd.errors import SecretsdError

# What sd-daemon(3) calls the priorities that journald understands at the beginning of a line.
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class NonBlockingHandler(logging.Handler):
    """Writes each record with one non-blocking write; `dropped` counts those that did not go out."""

    def __init__(self, descriptor: int, *, for_journal: bool) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._for_journal = for_journal
        self.dropped = 0
        self.dropped_at = float("-inf")  # monotonic seconds, of the last one

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record).replace("\n", "\n  ") + "\n"
        if self._for_journal:
            line = f"<{_PRIORITY.get(record.levelno, 6)}>{line}"
        try:
            os.write(self._descriptor, line.encode("utf-8", "backslashreplace"))
        except OSError:
            self.dropped += 1
            self.dropped_at = time.monotonic()


class FieldFormatter(logging.Formatter):
    """`event: field=value field="two words"`, the fields in their order."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD_FIELDS}
        text = " ".join([record.getMessage() + (":" if fields else ""), *map(_field, fields.items())])
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _field(item: tuple[str, object]) -> str:
    name, value = item[0], str(item[1])
    if not value.isprintable():
        # One record is one line, and nothing in it steers the terminal of who reads the journal.
        value = value.encode("unicode_escape").decode("ascii")
    return f'{name}="{value}"' if " " in value or not value else f"{name}={value}"


def set_up() -> NonBlockingHandler:
    """Sends the project's records, from INFO up, to standard error; others' from WARNING up."""
    descriptor = os.dup(sys.stderr.fileno())
    if not os.isatty(descriptor):
        # A terminal's open file is shared with the shell: it stays as it is.
        os.set_blocking(descriptor, False)
    handler = NonBlockingHandler(descriptor, for_journal="JOURNAL_STREAM" in os.environ)
    handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("secretsd").setLevel(logging.INFO)
    return handler


def dropped_records() -> int:
    """How many records did not go out since `set_up`; 0 before it."""
    return sum(
        handler.dropped for handler in logging.root.handlers if isinstance(handler, NonBlockingHandler)
    )


def last_dropped_at() -> float:
    """When a record did not go out last, in monotonic seconds; minus infinity where all did."""
    handlers = (each for each in logging.root.handlers if isinstance(each, NonBlockingHandler))
    return max((handler.dropped_at for handler in handlers), default=float("-inf"))


def tell(log: logging.Logger, error: SecretsdError) -> None:
    """Why a daemon ends, a record for each line, and what to do about it."""
    for line in str(error).splitlines():
        log.error(line)
    if error.advice:
        log.error(error.advice)
