"""Dialects with their readers, as parameters of tests."""

from __future__ import annotations

import pytest

from tests.refresh.formats.readers import READERS_OF, Reader, missing


def pairs(*only: Reader, dialects: tuple[str, ...] = tuple(READERS_OF)) -> list[object]:
    """A parameter (dialect, reader) for each reader of each dialect; skipped where the reader is missing."""
    return [
        pytest.param(dialect, reader, marks=_skipped_without(reader))
        for dialect in dialects
        for reader in READERS_OF[dialect]
        if not only or reader in only
    ]


def name_of(value: object) -> str:
    """A parameter's part of a test's name."""
    return value if isinstance(value, str) else getattr(value, "__name__", "")


def _skipped_without(reader: Reader) -> pytest.MarkDecorator:
    reason = missing(reader)
    return pytest.mark.skipif(reason is not None, reason=reason or "")
