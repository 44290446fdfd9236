"""A marker that stands for a secret, and what finds it in whatever was printed, logged or sent."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

from secretsd.logs import FieldFormatter

MARKER = "fake-MARKER-7f3a"
_SPELLINGS = (MARKER.encode(), MARKER.encode().hex().encode(), MARKER.encode("utf-16-le"))


def shows(text: str | bytes) -> bool:
    """Whether the marker stands in `text`, raw, in hex or in UTF-16."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return any(spelling in data for spelling in _SPELLINGS)


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
