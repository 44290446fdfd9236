"""The draft of a bundle's variables table, as TOML to paste into its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secretsd.cli.text import View, sentence
from secretsd.config.toml_text import inline, key

_REASONS = {
    "absent": "is not there, and the secret's variables map names it",
    "ambiguous": "is also given by another secret of the bundle: name it in one secret's variables map",
    "dangerous": "as a variable runs code or redirects a program: give it another name in variables",
    "duplicate": "stands twice in the object: keep one of the two",
    "nested": "is an object or a list: store it as a string, or as members of its own",
    "not-a-name": "cannot be a variable's name: give it one with variables = { NAME = KEY } in its secret",
    "not-utf8": "is not UTF-8: no rule can be checked on it",
    "unmapped": "is not taken: the secret's own variables map does not name it",
}


def screen(document: Mapping[str, Any], view: View) -> str:
    """What `schema` answered, as a table. It holds names, types and rounded lengths only."""
    bundle = document["bundle"]
    lines = [
        *_comment(
            f"Drafted from what the secrets of bundle {bundle} hold now, without any value. It takes the "
            "place of the bundle's variables table: see that the next version must satisfy each rule, too.",
            view,
        ),
        f"[bundles.{key(bundle)}.variables]",
    ]
    lines += [f"{name} = {inline(rule)}" for name, rule in document["variables"].items()]
    if not document["variables"]:
        lines.append("# Nothing that they hold can be a variable.")
    if document["left_out"]:
        lines += ["", "# Left out:"]
    for each in document["left_out"]:
        reason = _REASONS.get(each["reason"], each["reason"])
        lines += _comment(f"{each['key']} of {each['secret']} {reason}", view)
    return "\n".join(lines)


def _comment(text: str, view: View) -> list[str]:
    return sentence(text, view, indent="# ")
