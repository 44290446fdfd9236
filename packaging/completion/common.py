"""What the shells have in common."""

from __future__ import annotations

from command_line import Argument, global_options, lines


def every_option() -> list[Argument]:
    """Before the command and behind it; the same one once for each command."""
    return [*global_options(), *(option for line in lines() for option in line.options)]


def valued() -> list[str]:
    """Every flag that takes a value, sorted."""
    return sorted({flag for option in every_option() if option.metavar for flag in option.flags})


def quoted(text: str) -> str:
    """For the single quotes of bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"
