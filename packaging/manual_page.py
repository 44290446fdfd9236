#!/usr/bin/env python3
"""Prints the manual page secretsctl(1): packaging/manual_page.py

The commands are those of secretsctl's own parser; what stands around them is packaging/man/secretsctl.1.in.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from command_line import Argument, Line, global_options, groups

_TEMPLATE = Path(__file__).resolve().parent / "man" / "secretsctl.1.in"
_PLACE = '.\\" COMMANDS\n'


def main() -> int:
    template = _TEMPLATE.read_text(encoding="utf-8")
    before, place, after = template.partition(_PLACE)
    if not place:
        print(f"{sys.argv[0]}: the template has no line {_PLACE!r}", file=sys.stderr)
        return 70
    print(before + "\n".join(_commands()) + "\n" + after, end="")
    return 0


def _commands() -> Iterator[str]:
    for title, lines in groups():
        yield f".SH COMMANDS: {_roff(title.upper())}"
        for line in lines:
            yield from _command(line)
    yield ".SH OPTIONS BEFORE THE COMMAND"
    for option in global_options():
        yield from _argument(option)


def _command(line: Line) -> Iterator[str]:
    command = line.command
    yield f".SS {_roff(command.name)}"
    yield f".B secretsctl {_roff(command.name)}"
    yield from _synopsis(line)
    for paragraph in command.description.split("\n\n"):
        yield ".PP"
        yield from _prose(paragraph)
    for argument in [*line.places, *line.options]:
        if argument.flags[:1] not in (("-h",), ("--socket",), ("--config",), ("--signer-socket",)):
            yield from _argument(argument)
    yield ".PP"
    yield "Exit codes:"
    for code, meaning in command.exit_codes().items():
        yield ".TP"
        yield f".B {code}"
        yield from _prose(meaning)
    yield ".PP"
    yield "Examples:"
    yield ".PP"
    yield ".RS 4"
    yield ".EX"
    yield from (_roff(example, literal=True) for example in command.examples.splitlines())
    yield ".EE"
    yield ".RE"


def _synopsis(line: Line) -> Iterator[str]:
    for place in line.places:
        yield f".I {place.metavar}" if place.is_needed else f".RI [ {place.metavar} ]"
    for option in line.options:
        if option.flags[0] in ("-h", "--socket", "--config", "--signer-socket"):
            continue
        flag = _roff(option.flags[0], literal=True)
        value = f" \\fI{_roff(option.metavar)}\\fR" if option.metavar else ""
        yield f"[\\fB{flag}\\fR{value}]" if not option.is_needed else f"\\fB{flag}\\fR{value}"


def _argument(argument: Argument) -> Iterator[str]:
    yield ".TP"
    flags = ", ".join(f"\\fB{_roff(flag, literal=True)}\\fR" for flag in argument.flags)
    value = f"\\fI{_roff(argument.metavar)}\\fR" if argument.metavar else ""
    yield " ".join(part for part in (flags, value) if part)
    yield from _prose(argument.help)


def _prose(text: str) -> Iterator[str]:
    """Lines of roff, one for each line of the text; `words` become bold."""
    for line in text.splitlines():
        marked = re.sub(r"`([^`]+)`", "\x01\\1\x02", line)
        yield _roff(marked).replace("\x01", "\\fB").replace("\x02", "\\fR")


def _roff(text: str, *, literal: bool = False) -> str:
    """Text that roff prints as it is; in a `literal` every hyphen is a minus, so that it can be copied."""
    text = text.replace("\\", "\\e")
    text = text.replace("-", "\\-") if literal else re.sub(r"(?<!\w)--?\w[\w-]*", _as_minus, text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _as_minus(option: re.Match[str]) -> str:
    return option[0].replace("-", "\\-")


if __name__ == "__main__":
    sys.exit(main())
