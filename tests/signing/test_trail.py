"""What the signer's journal says of its audit log."""

from __future__ import annotations

import errno
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from secretsd.signing.trail import Trail


def test_a_log_that_cannot_be_written_is_told_in_the_journal_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    log: Any = SimpleNamespace(append=lambda _: None, trouble=None)
    trail = Trail(cast("Any", log), lambda: None)
    trail.look()
    assert not caplog.messages
    log.trouble = OSError(errno.ENOSPC, "full")
    trail.look()
    trail.look()
    assert caplog.messages == ["audit log cannot be written"]
    assert "No space left on device" in caplog.records[0].reason  # type: ignore[attr-defined]
    log.trouble = None
    trail.look()
    trail.look()
    assert caplog.messages[1:] == ["audit log is written again"]
