"""A log that nobody reads stops nothing, and what it lost is counted."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import pytest

from secretsd import logs


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that takes nothing more."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    yield write_end
    os.close(read_end)
    os.close(write_end)


def test_records_that_nobody_reads_are_dropped_and_counted_instead_of_freezing_the_daemon(
    full_pipe: int,
) -> None:
    handler = logs.NonBlockingHandler(full_pipe, for_journal=True)
    before = logs.dropped_records()
    logging.root.addHandler(handler)
    try:
        log = logging.getLogger("secretsd.test")
        log.error("lost")
        log.error("lost too")
        assert logs.dropped_records() == before + 2
    finally:
        logging.root.removeHandler(handler)
