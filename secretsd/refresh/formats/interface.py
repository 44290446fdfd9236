"""What a dialect of published file promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class UnwritableError(Exception):
    """Some values cannot be written in this dialect.

    `reasons` maps each variable's name to why; it never holds a value.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(", ".join(reasons))
        self.reasons = dict(reasons)


class Format(Protocol):
    """One dialect: turns variables into the bytes of one file, exactly, or refuses."""

    def render(self, values: Mapping[str, bytes]) -> bytes:
        """The whole file. Pure.

        Raises: UnwritableError naming every variable that the dialect's readers would not read back
        byte for byte.
        """
        ...
