"""Reads the configuration's files and merges them. Standard library only: the root helper uses it too."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from secretsd.config.disk import raw_files
from secretsd.config.positions import KeyPath, defined_twice, derailed_line, key_lines
from secretsd.errors import ConfigError

# Beside the top-level tables the one whose members may stand in several files: each bot brings its own keys.
_SIGNING_KEYS = ("signer", "keys")
_KINDS = {"sources": "source", "bundles": "bundle"}
# tomllib ends its sentences with one of these; some sentences quote what they choked on.
_TOML_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_TOML_QUOTED = re.compile(r"""\s*(?:\(.*\)|(['"]).*\1)""")
_UNCLOSED_STRING = ("Expected \"'", "Expected '\"", "Unterminated string")


@dataclass(frozen=True, order=True)
class Place:
    """A line of a configuration file; in the order in which the files were read."""

    file_index: int
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class _Document:
    """One file that tomllib has accepted."""

    index: int
    file: str
    text: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        # On demand: a configuration without mistakes never needs a line.
        return key_lines(self.text)

    def place(self, path: KeyPath) -> Place:
        while path and path not in self.lines:
            path = path[:-1]
        return Place(self.index, self.file, self.lines[path] if path else 1)


@dataclass(frozen=True)
class Tables:
    """The merged configuration as plain TOML values; fractions are Decimal.

    No repr: someone may have pasted a secret into the files.
    """

    data: dict[str, Any] = field(repr=False)
    _documents: tuple[_Document, ...] = field(repr=False)

    def place(self, key_path: KeyPath) -> str:
        """ "FILE:LINE" of the key, or of the nearest table around it that stands in a file."""
        return str(self.locate(key_path))

    def locate(self, key_path: KeyPath) -> Place:
        """Like `place`, for sorting."""
        for depth in (3, 2, 1) if key_path[:2] == _SIGNING_KEYS else (2, 1):
            for document in self._documents:
                if len(key_path) >= depth and _holds(document.data, key_path[:depth]):
                    return document.place(key_path)
        return Place(0, self._documents[0].file if self._documents else "", 1)


def read_tables(path: Path, *, trusted_owner: int | None = None) -> Tables:
    """The merged tables of `path` and of conf.d/*.toml beside it, in the order of their names.

    With `trusted_owner` (a uid), the files and the directories that hold them must belong to that user,
    must not be writable by group or others and must not be symbolic links: the caller acts on what they
    say with more rights than whoever else could write there. Blocks only on the local disk.

    Raises: ConfigError with a problem for each file that cannot be used and each name defined twice.
    """
    gathered = gather(path, trusted_owner=trusted_owner)
    if gathered.unusable or gathered.duplicates:
        twice = [f"{place}: {text}" for place, text in gathered.duplicates]
        raise ConfigError([*gathered.unusable, *twice])
    return gathered.tables


@dataclass(frozen=True, slots=True)
class Gathered:
    """What could be read, and what is wrong already."""

    tables: Tables
    duplicates: tuple[tuple[Place, str], ...]  # names defined twice; the first definition has won
    unusable: tuple[str, ...]  # a problem for each file that could not be used


def gather(path: Path, *, trusted_owner: int | None = None) -> Gathered:
    """`read_tables` that goes on over what is wrong, so that all of it can be told at once. Never raises."""
    documents, problems = _documents(path, trusted_owner)
    merged, duplicates = _merge(documents)
    return Gathered(Tables(merged, tuple(documents)), tuple(duplicates), tuple(problems))


def read_usable(path: Path, *, trusted_owner: int) -> tuple[dict[str, Any], list[str]]:
    """The merged values of the files that can be used and trusted, and a problem for each thing left out.

    For who serves a configuration that runs already, while a file of it is being broken: one bundle's mistake
    must not reach the others. Of a name that is defined twice the first definition counts. Never raises.
    """
    documents, problems = _documents(path, trusted_owner)
    merged, duplicates = _merge(documents)
    return merged, [*problems, *(f"{place}: {text}" for place, text in duplicates)]


def _documents(path: Path, trusted_owner: int | None) -> tuple[list[_Document], list[str]]:
    documents: list[_Document] = []
    problems: list[str] = []
    for source in raw_files(path, trusted_owner, problems):
        try:
            documents.append(_parse(len(documents), *source))
        except ConfigError as error:
            problems += error.problems
    return documents, problems


def _parse(index: int, file: str, content: bytes) -> _Document:
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{file}:{line}: is not UTF-8; save the file as UTF-8"]) from None
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except RecursionError:
        raise ConfigError([f"{file}: is nested too deeply"]) from None
    except ValueError as error:
        raise ConfigError([_syntax_problem(file, text, str(error))]) from None
    return _Document(index, file, text, data)


def _syntax_problem(file: str, text: str, sentence: str) -> str:
    """What tomllib's `sentence` says, without what it quotes from the file."""
    found = _TOML_POSITION.search(sentence)
    if found is None:  # int() and Decimal() have rules of their own and name no place
        return f"{file}: holds a number or a date that cannot be represented"
    line = int(found[1]) if found[1] else text.count("\n") + 1
    end = _offset(text, line, int(found[2])) if found[2] else len(text)
    if again := defined_twice(text[:end]):
        path, first, second = again
        return f"{file}:{second}: {_described(path)} is already defined at {file}:{first}"
    # Of a string that is not closed, tomllib names the end of the file.
    line = min(line, derailed_line(text) or line)
    return f"{file}:{line}: is not valid TOML: {_without_quotes(sentence[: found.start()])}"


def _without_quotes(sentence: str) -> str:
    """The sentence without what it quotes, unless that is TOML's own punctuation."""
    if sentence.startswith(_UNCLOSED_STRING):
        return "a string is not closed"
    bare = _TOML_QUOTED.sub(lambda quoted: "" if re.search(r"\w", quoted[0]) else quoted[0], sentence)
    return bare[:1].lower() + bare[1:]


def _offset(text: str, line: int, column: int) -> int:
    return sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1


def _merge(documents: list[_Document]) -> tuple[dict[str, Any], list[tuple[Place, str]]]:
    """The members of the shared tables together; and each name that stands in two files."""
    merged: dict[str, Any] = {}
    origin: dict[KeyPath, _Document] = {}
    duplicates: list[tuple[Place, str]] = []

    def is_new(path: KeyPath, document: _Document) -> bool:
        first = origin.setdefault(path, document)
        if first is not document:
            text = f"{_described(path)} is already defined at {first.place(path)}"
            duplicates.append((document.place(path), text))
        return first is document

    def add(table: dict[str, Any], values: Mapping[str, Any], above: KeyPath, document: _Document) -> None:
        for key, value in values.items():
            path = (*above, key)
            is_shared = isinstance(value, dict) and (not above or path == _SIGNING_KEYS)
            inner = table.setdefault(key, {}) if is_shared else None
            if isinstance(inner, dict):
                origin.setdefault(path, document)
                add(inner, value, path, document)
            elif is_new(path, document):
                table[key] = value

    for document in documents:
        add(merged, document.data, (), document)
    return merged, duplicates


def _described(path: KeyPath) -> str:
    kind = _KINDS.get(str(path[0])) if len(path) == 2 else None
    if path[:2] == _SIGNING_KEYS and len(path) == len(_SIGNING_KEYS) + 1:
        kind = "signing key"
    return f"{kind} {path[-1]!r}" if kind else f"{path[-1]!r}"


def _holds(data: Mapping[str, Any], path: KeyPath) -> bool:
    value: Any = data
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
