"""The screen of `secretsctl history`: the generations of a bundle, newest first. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secretsd.cli.screens import bundle as of
from secretsd.cli.text import GREEN, NO_BREAK, Cell, View, sentence, short, table
from secretsd.cli.times import relative

_COLORS = {"published": GREEN}
# A plan's reason is about what is; afterwards it reads better so.
_THEN = {"it is not published yet": "it was not published"}


def screen(document: Mapping[str, Any], view: View) -> str:
    name, generations = document.get("bundle"), document.get("generations") or ()
    if not generations:
        return f"{name}: nothing was published on this host yet"
    rows: list[Sequence[str | Cell]] = [("GEN", "STATE", "PUBLISHED", "WHY", "VERSIONS")]
    rows += [_row(generation, view) for generation in generations]
    lines = table(rows, view)
    if words := of.hold_in_words(document, view):
        first, *more = words
        lines += ["", *sentence(f"{name}: {first}", view, indent="")]
        lines += [line for text in more for line in sentence(text, view)]
        lines += [f"  to end it: secretsctl resume {name}"]
    if any(generation.get("state") == "kept" for generation in generations):
        lines += ["", "to show one again that is kept:", f"  secretsctl rollback {name} --to GEN"]
    return "\n".join(lines)


def _row(generation: Mapping[str, Any], view: View) -> tuple[str | Cell, ...]:
    state = str(generation.get("state"))
    return (
        str(generation.get("generation")).rjust(3),
        Cell(state, _COLORS.get(state, "")),
        relative(generation.get("published_at"), view.now),
        _why(generation),
        _versions(generation),
    )


def _why(generation: Mapping[str, Any]) -> str:
    reason = str(generation.get("reason") or "-")
    words = [_THEN.get(reason, reason)]
    if generation.get("copy_of") is not None:
        words.append(f"copy of {generation['copy_of']}")
    if generation.get("by"):
        words.append(f"by {generation['by']}")
    return ", ".join(words)


def _versions(generation: Mapping[str, Any]) -> str:
    parts = [
        f"{version.get('id')} {short(str(version.get('version_id')))}".replace(" ", NO_BREAK)
        for version in generation.get("versions") or ()
    ]
    return ", ".join(parts) or "-"
