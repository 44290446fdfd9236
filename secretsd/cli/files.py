"""What a command reads from a file or from standard input, and what it writes to a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from secretsd.cli import asking
from secretsd.errors import ExitCode, LocalIOError, UsageError

# More than the signer takes: it says itself what is too large.
_MOST_BYTES = 1024 * 1024


def read(path: Path | None, what: str) -> bytes:
    """The file's content, without one that of standard input. Raises: LocalIOError, UsageError."""
    try:
        if path is not None:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        elif sys.stdin is None or sys.stdin.isatty():
            raise UsageError(f"{what} is missing", advice="pipe it in, or name its file with --in FILE")
        else:
            content = sys.stdin.buffer.read(_MOST_BYTES + 1)
    except OSError as error:
        raise LocalIOError(f"cannot read {path or 'standard input'}: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(
            f"{what} is larger than 1 MiB", advice="see secretsctl sign --help for large messages"
        )
    return content


def warn_where_others_can_read(path: Path) -> None:
    """A key in a file is only as secret as the file."""
    try:
        mode = path.stat().st_mode & 0o077
    except OSError:
        return
    if mode:
        asking.complain(
            f"warning: {path} can be read by other users", f"chmod 600 {path}, and remove it when it is in"
        )


def write(path: Path, content: bytes) -> int:
    """Writes a file that only its owner can read, in place of what was there. Raises: LocalIOError."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            # /dev/stdout, /dev/null, a pipe: a rename would put a file in their place.
            path.write_bytes(content)
        else:
            _replace(path, content)
    except OSError as error:
        raise LocalIOError(f"cannot write {path}: {error.strerror}") from None
    return ExitCode.OK


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def to_stdout(content: bytes) -> int:
    """Raises: LocalIOError, OSError."""
    if sys.stdout is None:
        raise LocalIOError("cannot write the output: standard output is closed")
    sys.stdout.buffer.write(content)
    return ExitCode.OK
