"""What a dialect of published files promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

# The path of a format that writes one file: the output's own.
ITSELF = ""

NOT_A_NAME = "is no variable's name: letters, digits and _, and no digit first"


class UnwritableError(Exception):
    """Some values cannot be written in this dialect.

    `reasons` maps each variable's name to why; it never holds a value.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(", ".join(reasons))
        self.reasons = dict(reasons)


class Format(Protocol):
    """One dialect: turns variables into the bytes of its files, exactly, or refuses."""

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        """The whole content of each file, by its path below the output's; `ITSELF` is the output. Pure.

        Raises: UnwritableError naming every variable that the dialect's readers would not read back
        byte for byte.
        """
        ...
