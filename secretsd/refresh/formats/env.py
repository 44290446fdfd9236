"""The dialect that systemd's EnvironmentFile= and every POSIX shell read alike.

systemd.exec(5) takes `'...'` verbatim and joins adjacent quoted pieces, as sh does; so a single quote is
written as `'"'"'`. The shell trick `'\\''` is not used: systemd would keep a literal quote.
"""

from __future__ import annotations

from collections.abc import Mapping

from secretsd.refresh.formats.interface import UnwritableError

# execve(2): one string of the environment holds at most 32 pages with its final NUL (MAX_ARG_STRLEN).
MAX_ASSIGNMENT_BYTES = 131_071
# All strings together: a quarter of the stack limit of 8 MiB, of which the unit's own variables need some.
MAX_ENVIRONMENT_BYTES = 1_572_864


class EnvFormat:
    """`NAME='value'` lines: UTF-8, LF, no BOM, a final newline."""

    def render(self, values: Mapping[str, bytes]) -> bytes:
        reasons = {name: reason for name, value in values.items() if (reason := _why_not(name, value))}
        if not reasons and (total := sum(map(_size, values.items()))) > MAX_ENVIRONMENT_BYTES:
            largest = max(values.items(), key=_size)[0]
            limit = f"the limit of {MAX_ENVIRONMENT_BYTES} for one environment"
            reasons = {largest: f"is the largest of variables that take {total} bytes, over {limit}"}
        if reasons:
            raise UnwritableError(reasons)
        return b"".join(_assignment(name, value) for name, value in values.items())


def _assignment(name: str, value: bytes) -> bytes:
    return name.encode("ascii") + b"='" + value.replace(b"'", b"'\"'\"'") + b"'\n"


def _size(assignment: tuple[str, bytes]) -> int:
    # NAME=value and its final NUL, and the pointer to it.
    return len(assignment[0]) + len(assignment[1]) + 10


def _why_not(name: str, value: bytes) -> str | None:
    if b"\0" in value:
        return "holds a NUL byte"
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        # `from None` is not needed: the exception, which quotes the value, ends here.
        return "is not UTF-8, and systemd refuses a unit over one such byte"
    if any(_is_noncharacter(ord(character)) for character in text):
        return "holds a Unicode noncharacter, which systemd refuses"
    if len(name) + 1 + len(value) > MAX_ASSIGNMENT_BYTES:
        return f"is longer than the {MAX_ASSIGNMENT_BYTES} bytes that one assignment may have"
    return None


def _is_noncharacter(code_point: int) -> bool:
    return 0xFDD0 <= code_point <= 0xFDEF or code_point & 0xFFFE == 0xFFFE
