"""The screen of `secretsctl diff`: names that differ between source and files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secretsd.cli.text import GREEN, RED, YELLOW, Cell, View, paint, sentence, short, table

_VERBS = (("added", "add", GREEN), ("changed", "change", YELLOW), ("removed", "remove", RED))


def screen(document: Mapping[str, Any], view: View) -> str:
    lines = [*_head(document, view), *_variables(document, view), *_files(document, view)]
    lines += _failures(document, view) + _versions(document, view)
    return "\n".join(lines)


def _head(document: Mapping[str, Any], view: View) -> list[str]:
    name = document.get("bundle")
    if document.get("failures"):
        text = f"{name}: nothing can be published now, see below"
    elif any(document.get(key) for key, _, _ in _VERBS):
        counts = [(len(document.get(key) or ()), key) for key, _, _ in _VERBS]
        text = f"{name}: what publishing would do: " + ", ".join(f"{n} {key}" for n, key in counts if n)
    else:
        text = f"{name}: the source holds what is published"
    return sentence(text, view, indent="")


def _variables(document: Mapping[str, Any], view: View) -> list[str]:
    return [
        f"  {paint(verb.ljust(6), color, view)}  {name}"
        for key, verb, color in _VERBS
        for name in document.get(key) or ()
    ]


def _files(document: Mapping[str, Any], view: View) -> list[str]:
    files = document.get("files") or ()
    if not files:
        return []
    lines = ["", "altered on this host:"]
    for file in files:
        lines += sentence(f"{file.get('path')}: {file.get('what')}", view)
    return lines


def _failures(document: Mapping[str, Any], view: View) -> list[str]:
    lines: list[str] = []
    for failure in document.get("failures") or ():
        lines += ["", f"{failure.get('failure_class')}, {failure.get('code')}"]
        lines += sentence(str(failure.get("message")), view)
        lines += sentence(f"fix: {failure['advice']}", view) if failure.get("advice") else []
    return lines


def _versions(document: Mapping[str, Any], view: View) -> list[str]:
    rows: list[Sequence[str | Cell]] = [("SECRET", "SOURCE", "STAGE", "PUBLISHED", "SOURCE HAS")]
    for version in document.get("versions") or ():
        published, newest = version.get("published"), version.get("source_has")
        color = "" if published == newest else YELLOW
        cells = (str(version.get("id")), str(version.get("source")), str(version.get("stage") or "-"))
        rows.append((*cells, short(str(published or "-")), Cell(short(str(newest or "-")), color)))
    return ["", *table(rows, view)] if len(rows) > 1 else []
