"""How wide a stream's terminal is, and long lines for it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TextIO

from secretsd.cli.text import View, sentence


def columns(stream: TextIO | None) -> int | None:
    """How wide the terminal is; None for what is none."""
    if stream is None or not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def fitted(text: str, stream: TextIO | None, *, indent: str = "") -> str:
    """The text in lines that a terminal need not break within a word; one line for all else."""
    return "\n".join(sentence(text, View(datetime.now(UTC), columns(stream)), indent=indent))
