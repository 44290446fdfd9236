"""The dialect of `docker run --env-file` and podman's: no quoting at all, a line for each variable.

The client (opts/file.go of docker/cli) scans lines of less than 64 KiB with Go's bufio.Scanner, which takes
one CR from the end of a line, and refuses a file with a byte that is not UTF-8.
"""

from __future__ import annotations

from secretsd.refresh.formats.lines import CannotHoldError, LineFormat

MAX_LINE_BYTES = 65_535


def quoted(text: str) -> str:
    """The value as it is; one CR at its end is doubled, since the reader takes one away."""
    if "\n" in text:
        raise CannotHoldError("holds a line feed, and a file for docker has one line a variable")
    return f"{text}\r" if text.endswith("\r") else text


FORMAT = LineFormat(quoted, max_line_bytes=MAX_LINE_BYTES)
