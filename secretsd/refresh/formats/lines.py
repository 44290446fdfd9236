"""What all dialects of `NAME=value` lines share: names, bytes that no reader takes, and limits of size.

A dialect adds how a value is quoted. The files are UTF-8 with LF, without a BOM and without `export`, and
end in a newline. They have no comments: systemd before 254 takes the line after one that ends in a backslash
for its continuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from secretsd.config.names import is_dangerous, is_valid_name
from secretsd.refresh.formats.interface import ITSELF, NOT_A_NAME, UnwritableError

# execve(2): one string of the environment holds at most 32 pages with its final NUL (MAX_ARG_STRLEN).
MAX_ASSIGNMENT_BYTES = 131_071
# All strings together: a quarter of the stack limit of 8 MiB, of which the process's own need some.
MAX_ENVIRONMENT_BYTES = 1_572_864
# The last two code points of each plane, and a block of 32 (The Unicode Standard, 23.7).
_NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane | 0xFFFE) + chr(plane | 0xFFFF) for plane in range(0, 0x110000, 0x10000))
    + "]"
)
# NAME=value has a final NUL, and a pointer to it.
_OVERHEAD_BYTES = 10


class CannotHoldError(Exception):
    """The dialect has no form for a value; `reason` goes on after the variable's name, without the value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LineFormat:
    """`quoted` gives what stands after `NAME=`, or raises CannotHoldError.

    With `fills_environment` the reader hands all variables to a program that it starts, so that the limits
    of execve(2) hold; other readers keep them to themselves.
    """

    quoted: Callable[[str], str]
    fills_environment: bool = True
    max_line_bytes: int | None = None
    takes_noncharacters: bool = True

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        lines: list[bytes] = []
        reasons: dict[str, str] = {}
        for name, value in values.items():
            try:
                lines.append(self._line(name, value))
            except CannotHoldError as error:
                reasons[name] = error.reason
        if not reasons and self.fills_environment:
            reasons = _too_much(values)
        if reasons:
            raise UnwritableError(reasons)
        return {ITSELF: b"".join(lines)}

    def _line(self, name: str, value: bytes) -> bytes:
        """Raises: CannotHoldError."""
        _check_name(name)
        text = _text(value)
        if not self.takes_noncharacters and _NONCHARACTER.search(text):
            raise CannotHoldError("holds a Unicode noncharacter, which systemd refuses")
        line = f"{name}={self.quoted(text)}".encode()
        if self.fills_environment and len(name) + 1 + len(value) > MAX_ASSIGNMENT_BYTES:
            limit = f"the {MAX_ASSIGNMENT_BYTES} bytes that one assignment may have"
            raise CannotHoldError(f"is longer than {limit}")
        if self.max_line_bytes is not None and len(line) > self.max_line_bytes:
            raise CannotHoldError(f"is longer than the {self.max_line_bytes} bytes that one line may have")
        return line + b"\n"


def _check_name(name: str) -> None:
    if not is_valid_name(name):
        raise CannotHoldError(NOT_A_NAME)
    if is_dangerous(name):
        raise CannotHoldError(
            "is a name that runs code, redirects its program or breaks the reader of the file,"
            " however well its value is quoted"
        )


def _text(value: bytes) -> str:
    if b"\0" in value:
        raise CannotHoldError("holds a NUL byte, which no environment can")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        pass  # not raised from here: the exception quotes the value
    raise CannotHoldError("is not UTF-8, and one such byte makes readers refuse or garble the file")


def _too_much(values: Mapping[str, bytes]) -> dict[str, str]:
    sizes = {name: len(name) + len(value) + _OVERHEAD_BYTES for name, value in values.items()}
    if (total := sum(sizes.values())) <= MAX_ENVIRONMENT_BYTES:
        return {}
    limit = f"the limit of {MAX_ENVIRONMENT_BYTES} for one environment"
    largest = max(sizes, key=sizes.__getitem__)
    return {largest: f"is the largest of variables that take {total} bytes, over {limit}"}
