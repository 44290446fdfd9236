"""What `secretsctl log` prints: a line for each record, and what a verification has found. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secretsd.cli.text import GREEN, NO_BREAK, RED, YELLOW, View, paint, printable, short, width, wrapped

_COLORS = {"refused": YELLOW, "failed": RED}
# What has a place of its own in the line, or is of no use to people.
_PLACED = frozenset(
    {"seq", "time", "action", "actor", "phase", "request", "result", "reason", "hash", "digest"}
)
_WIDEST_ACTION = 10
_MOST_NAMES = 3  # of a list
_INDENT = "    "


def line(record: Mapping[str, Any], view: View) -> str:
    """One record: when, what, on what, by whom, how it went; in lines that a terminal need not break."""
    moment = printable(str(record.get("time")).replace("T", " ").replace("Z", "")[:23])
    action = printable(str(record.get("action"))).ljust(_WIDEST_ACTION)
    parts = [moment, action, *(_member(name, record[name]) for name in record if name not in _PLACED)]
    parts.append(f"by {_who(record.get('actor'))}".replace(" ", NO_BREAK))
    end = _end(record)
    text = "  ".join([*filter(None, parts), end.replace(" ", NO_BREAK)])
    room = width(text) if view.columns is None else view.columns - len(_INDENT)
    lines = [part.rstrip() for part in wrapped(text, room)]
    lines[-1] = lines[-1].removesuffix(end) + paint(end, _COLORS.get(str(record.get("result")), ""), view)
    return f"\n{_INDENT}".join(lines)


def _member(name: str, value: Any) -> str:
    if value in (None, "", []) or (name == "version" and value == 0):
        return ""
    if name in ("version_id", "boot"):
        value = short(str(value))
    return f"{name}={printable(_text(value))}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        more = f", +{len(value) - _MOST_NAMES}" if len(value) > _MOST_NAMES else ""
        return ", ".join(map(_text, value[:_MOST_NAMES])) + more
    if isinstance(value, dict):
        return ":".join(short(str(each)) for each in value.values())
    return str(value)


def _who(actor: Any) -> str:
    if not isinstance(actor, dict):
        return printable(str(actor))
    unit = f"{actor['unit']} " if actor.get("unit") else ""
    return printable(f"{unit}uid {actor.get('uid')} pid {actor.get('pid')}")


def _end(record: Mapping[str, Any]) -> str:
    if record.get("phase") == "intent":
        return "..."
    reason = f" ({record['reason']})" if record.get("reason") else ""
    return printable(f"{record.get('result')}{reason}")


def verification(document: Mapping[str, Any], view: View) -> str:
    """What was found of each chain, the first flaw named."""
    lines = []
    for chain in document["chains"]:
        flaw = chain["flaw"]
        word = paint("FLAW", RED, view) if flaw else paint("fits", GREEN, view)
        numbers = f"records {chain['first']} to {chain['last']}" if chain["records"] else "no records"
        files = f"{len(chain['files'])} file{'s' if len(chain['files']) != 1 else ''}"
        lines.append(f"{chain['daemon']}: {word}, {numbers} in {files} of {chain['directory']}")
        if flaw:
            where = f"{flaw['file']} line {flaw['line']}" if flaw["line"] else chain["directory"]
            lines.append(f"  record {flaw['record']}, {where}: {flaw['why']}")
        if chain["first"] > 1:
            lines.append(f"  it begins behind record {chain['first'] - 1}: what was before is not here")
        if chain["unfinished"]:
            lines.append("  it ends within a line: a crash, or a record that is being written now")
        if not flaw:
            lines.append(f"  anchor: {chain['anchor']}")
    return "\n".join(lines)
