"""Where each key of a TOML text stands: tomllib gives values without their lines.

The scanner trusts that tomllib has accepted the text, so it only has to find its way, not to judge
(TOML 1.0, https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY_PART = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|[^\s.=\[\]{}"\'#,]+')
_VALUE = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"{3,5}'
    r"|'''[\s\S]*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|[^\s,\[\]{}#\"'][^,\]}#\n]*"  # numbers, booleans, dates (which may hold one blank)
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of each key, table header and array element of `text`, by its path.

    A table that several headers lead to counts where it is first named. `text` has LF line ends. Where
    it nests deeper than Python recurses, what lies below that depth is left out.
    """
    return _scanned(text).lines


def defined_twice(text: str) -> tuple[KeyPath, int, int] | None:
    """The first key or table that `text` defines a second time: its path, the first line, the second.

    `text` may end anywhere after that second definition, also in the middle of a statement.
    """
    return _scanned(text).again


def derailed_line(text: str) -> int | None:
    """The line from which on `text` cannot be TOML whatever follows; None where its structure is whole."""
    scan = _scanned(text)
    return None if scan.is_whole else scan.current_line()


def _scanned(text: str) -> _Scan:
    scan = _Scan(text)
    with suppress(_OffTheRailsError, tomllib.TOMLDecodeError, RecursionError):
        scan.document()
        scan.is_whole = True
    return scan


class _OffTheRailsError(Exception):
    """The text is not TOML from here on."""


class _Scan:
    """One walk over a text, from its start to its end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.is_whole = False
        self.lines: dict[KeyPath, int] = {}
        self.again: tuple[KeyPath, int, int] | None = None
        self._defined: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}  # array of tables -> how many there are so far
        self._line = 1
        self._counted_to = 0

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self._next_is("["):
                table = self._header()
            else:
                self._key_and_value(table)
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        is_element = self._take("[[")
        if not is_element:
            self._expect("[")
        *parents, last = self._key()
        path: KeyPath = ()
        for part in parents:
            path = self._note((*path, part))
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        path = self._note((*path, last))
        if is_element:
            count = self._elements.get(path, 0)
            self._elements[path] = count + 1
            path = self._note((*path, count))
        else:
            self._define(path)
        self._expect("]]" if is_element else "]")
        return path

    def _key_and_value(self, table: KeyPath) -> None:
        path = table
        for part in self._key():
            path = self._note((*path, part))
        key_line = self.current_line()
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)
        self._define(path, key_line)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while not parts or self._take("."):
            self._skip(_SPACE)
            found = _KEY_PART.match(self.text, self.at)
            if found is None:
                raise _OffTheRailsError
            self.at = found.end()
            parts.append(_plain(found.group()))
            self._skip(_SPACE)
        return parts

    def _value(self, path: KeyPath) -> None:
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        elif (found := _VALUE.match(self.text, self.at)) is not None:
            self.at = found.end()
        else:
            raise _OffTheRailsError

    def _array(self, path: KeyPath) -> None:
        index = 0
        self._skip(_BLANK)
        while not self._take("]"):
            self._value(self._note((*path, index)))
            index += 1
            self._separator("]")

    def _inline_table(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        while not self._take("}"):
            self._key_and_value(path)
            self._separator("}")

    def _separator(self, closing: str) -> None:
        self._skip(_BLANK)
        if not self._take(",") and not self._next_is(closing):
            raise _OffTheRailsError
        self._skip(_BLANK)

    def _note(self, path: KeyPath) -> KeyPath:
        self.lines.setdefault(path, self.current_line())
        return path

    def _define(self, path: KeyPath, line: int | None = None) -> None:
        line = self.current_line() if line is None else line
        if path not in self._defined:
            self._defined[path] = line
        elif self.again is None:
            self.again = (path, self._defined[path], line)

    def current_line(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line

    def _skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _next_is(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def _take(self, token: str) -> bool:
        taken = self._next_is(token)
        self.at += len(token) if taken else 0
        return taken

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise _OffTheRailsError


def _plain(key: str) -> str:
    """The name that a key stands for: without its quotes, escapes undone."""
    if key[0] == "'":
        return key[1:-1]
    if key[0] != '"':
        return key
    return str(tomllib.loads(f"k = {key}")["k"]) if "\\" in key else key[1:-1]
