"""What loggers write, for tests in which no daemon is a process of its own."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

from secretsd.logs import FieldFormatter


@contextlib.contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Every record of every logger, as secretsd writes it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(FieldFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
