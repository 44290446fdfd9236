"""The screen of `secretsctl usage`: keys and secrets, who uses them, how often and when last. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secretsd.cli.text import YELLOW, Cell, View, sentence, table
from secretsd.cli.times import relative

_NOBODY = "nobody"


def screen(document: Mapping[str, Any], view: View) -> str:
    lines: list[str] = []
    keys: list[Sequence[str | Cell]] = [("KEY", "USED BY", "TIMES", "LAST")]
    for key in document["keys"]:
        keys += _rows(key["key"], key["uses"], view)
    secrets: list[Sequence[str | Cell]] = [("SECRET, AND WHO LOADED IT", "TIMES", "LAST")]
    for secret in document["secrets"]:
        secrets += _secret(secret, view)
    for rows in (keys, secrets):
        lines += [*([""] if lines else []), *table(rows, view)] if len(rows) > 1 else []
    if not lines:
        unused = document["unused_days"]
        lines = [f"all was used within {unused} days" if unused else "nothing is on record"]
    return "\n".join([*lines, "", *_closing(document, view)])


def _secret(secret: Mapping[str, Any], view: View) -> list[tuple[str | Cell, ...]]:
    """Below the secret are its units: names of both are long, and a terminal is narrow."""
    read = f"read {relative(secret['last_read'], view.now)}" if secret["reads"] else "never read"
    bundles = f", for {', '.join(secret['bundles'])}" if secret["bundles"] else ""
    row = (f"{secret['secret']} ({secret['source']})", str(secret["reads"]), read + bundles)
    units: list[tuple[str | Cell, ...]] = [
        (f"  {use['who']}", str(use["count"]), _last(use, view)) for use in secret["units"]
    ]
    # A unit that was started since has the secret, too, and that is not on record.
    for unit in sorted(set(secret["not_running"]) - {use["who"] for use in secret["units"]}):
        units.append((f"  {unit}", "0", Cell("was not running", YELLOW)))
    return [row, *units] if units else [row, (Cell(f"  {_NOBODY}", YELLOW), "0", "never")]


def _rows(name: str, uses: Sequence[Mapping[str, Any]], view: View) -> list[tuple[str | Cell, ...]]:
    if not uses:
        return [(name, Cell(_NOBODY, YELLOW), "0", "never")]
    return [
        (name if number == 0 else "", use["who"], str(use["count"]), relative(use["last"], view.now))
        for number, use in enumerate(uses)
    ]


def _last(use: Mapping[str, Any], view: View) -> str:
    return relative(use["last"], view.now) + (", has it" if use["has_it"] else "")


def _closing(document: Mapping[str, Any], view: View) -> list[str]:
    lines = []
    for what in ("keys", "secrets"):
        since, covered, days = document[f"{what}_since"], document[f"{what}_days"], document["unused_days"]
        said = (
            f"{what}: from records since {since.replace('T', ' ')[:19]}" if since else f"{what}: no records"
        )
        if days and since and covered < days:
            span = f"{covered} day{'s' if covered != 1 else ''}"
            said += f": that is {span}, too few to know what was unused for {days}"
        lines += sentence(said, view, indent="")
    if document["unknown_bundles"]:
        named = ", ".join(document["unknown_bundles"])
        said = f"what these bundles were made of as units loaded them is not on record any more: {named}"
        lines += sentence(said, view, indent="")
    if not document["configured"]:
        said = "the configuration cannot be read: what nobody has ever used is not listed"
        lines += sentence(said, view, indent="")
    return lines
