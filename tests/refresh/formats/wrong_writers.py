"""Writers with the mistakes that are usually made; the tests that pass secretsd's writers must fail these.

Each is a right writer in every other respect: it refuses what the dialect of the same name refuses.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from secretsd.refresh.formats.interface import ITSELF
from secretsd.refresh.formats.registry import FORMATS


@dataclass(frozen=True, slots=True)
class WrongQuotes:
    """`quote` is wrong; what `dialect` refuses is refused."""

    dialect: str
    quote: Callable[[str], str]

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        FORMATS[self.dialect].render(values)
        lines = (f"{name}={self.quote(value.decode())}\n" for name, value in values.items())
        return {ITSELF: "".join(lines).encode()}


@dataclass(frozen=True, slots=True)
class WrongText:
    """The dialect's own writer, for a text that was altered on its way to it."""

    dialect: str
    alter: Callable[[str], str]

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        return FORMATS[self.dialect].render({name: self._altered(value) for name, value in values.items()})

    def _altered(self, value: bytes) -> bytes:
        # Binary values have no text that could be altered.
        try:
            return self.alter(value.decode()).encode()
        except UnicodeDecodeError:
            return value


def shell_trick(text: str) -> str:
    r"""The usual `'\''`, which every shell takes, and which leaves two quotes in systemd's value."""
    return "'" + text.replace("'", "'\\''") + "'"


def json_quotes(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def double_quotes_with_the_dollar_left(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`") + '"'


def no_quotes(text: str) -> str:
    return text


def single_quotes_unescaped(text: str) -> str:
    return f"'{text}'"


def folded(text: str) -> str:
    return text.replace("\n", " ")


def newlines_as_escapes(text: str) -> str:
    return text.replace("\n", "\\n")


def normalised(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def stripped(text: str) -> str:
    return text.strip()


QUOTING = (shell_trick, json_quotes, double_quotes_with_the_dollar_left, no_quotes, single_quotes_unescaped)
ALTERING = (folded, newlines_as_escapes, normalised, stripped)
