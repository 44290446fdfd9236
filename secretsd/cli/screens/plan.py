"""The screen of `secretsctl plan`: a line for each step. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secretsd.cli.text import GREEN, RED, YELLOW, View, paint, sentence
from secretsd.cli.times import absolute, relative

_INDENT = " " * 9


def screen(document: Mapping[str, Any], view: View) -> str:
    return (
        "\n".join(line for step in document.get("steps") or () for line in _step(step, view))
        or "nothing to do"
    )


def _step(step: Mapping[str, Any], view: View) -> list[str]:
    bundle, reason = step.get("bundle"), step.get("reason", "")
    match step.get("step"):
        case "PublishBundle":
            text = f"{bundle} as generation {step.get('generation')}: {reason}"
            return _line("publish", GREEN, text, view)
        case "RestoreBundle":
            text = f"{bundle} from the copy of generation {step.get('copy_of')}: {reason}"
            return _line("restore", YELLOW, text, view)
        case "UnsealBundle":
            text = f"{bundle} from the sealed copy of generation {step.get('copy_of')}: {reason}"
            return _line("unseal", YELLOW, text, view)
        case "KeepHeld":
            text = f"{bundle}: an operator holds it: secretsctl resume {bundle} lets the source decide again"
            return _line("hold", YELLOW, text, view)
        case "KeepPublished":
            return _line("keep", "", f"{bundle}: the source confirms what is published", view)
        case "KeepStale":
            return _kept(step, view)
        case "RemoveBundle":
            return _line("remove", RED, f"{bundle}: {reason}", view)
        case "NotifyUnit":
            text = f"{step.get('unit')} of {bundle} generation {step.get('generation')}: {step.get('action')}"
            return _line("notify", GREEN, f"{text}{_wait(step, view)}", view)
        case other:  # of a newer daemon: its name and its fields say enough
            fields = ", ".join(
                f"{key} {value}" for key, value in step.items() if key not in ("step", "bundle")
            )
            return _line(str(other), YELLOW, f"{bundle}: {fields}", view)


def _kept(step: Mapping[str, Any], view: View) -> list[str]:
    lines = _line("keep", RED, f"{step.get('bundle')} as it is:", view)
    for failure in step.get("failures") or ():
        kind = f"{failure.get('failure_class')}, {failure.get('code')}"
        lines += sentence(f"{failure.get('message')} ({kind})", view, indent=_INDENT)
        if failure.get("advice"):
            lines += sentence(f"fix: {failure['advice']}", view, indent=_INDENT)
    return lines


def _wait(step: Mapping[str, Any], view: View) -> str:
    """What stands before the unit is told; nothing where it would be at once."""
    match step.get("waits_for"), step.get("until"):
        case None, _:
            return ""
        case "before", _:
            return ", once its before agrees"
        case reason, None:
            return f", waits for {reason}; none is to come"
        case reason, until:
            return f", waits for {reason} until {absolute(until)} ({relative(until, view.now)})"


def _line(verb: str, color: str, text: str, view: View) -> list[str]:
    first, *more = sentence(text, view, indent=_INDENT)
    return [f"{paint(verb, color, view)}{' ' * max(len(_INDENT) - len(verb), 1)}{first.lstrip()}", *more]
