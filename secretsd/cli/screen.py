"""What people see: tables and sentences from the daemon's JSON documents. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_COLORS = {
    "loaded": "32",
    "notified": "33",
    "published": "33",
    "altered": "31",
    "missing": "31",
    "failing": "31",
}


def status(document: Mapping[str, Any], *, color: bool, in_detail: bool) -> str:
    """The whole screen of `secretsctl status`."""
    daemon, bundles = document["daemon"], document["bundles"]
    lines = [
        f"secretsd {daemon['version']}, files on {daemon['memory']}{'' if daemon['ready'] else ', starting'}"
    ]
    lines += [f"warning: {warning}" for warning in daemon["warnings"]]
    if not bundles:
        return "\n".join([*lines, "no bundles are configured: see secretsd(8)"])
    rows: list[Sequence[str]] = [
        ("BUNDLE", "STATE", "GENERATION", "PUBLISHED", "CONFIRMED", "NEXT REFRESH", "UNITS")
    ]
    rows += [_row(name, bundle) for name, bundle in bundles.items()]
    lines += ["", *_colored(_table(rows), bundles.values(), color=color)]
    for name, bundle in bundles.items():
        lines += _troubles(name, bundle)
        if in_detail:
            lines += _details(bundle)
    return "\n".join(lines)


def _row(name: str, bundle: Mapping[str, Any]) -> tuple[str, ...]:
    units = ", ".join(f"{unit['unit']} {unit['state']}" for unit in bundle["units"]) or "-"
    return (
        name,
        _state(bundle),
        str(bundle["generation"] or "-"),
        _ago(bundle["published_at"]),
        _ago(bundle["confirmed_at"]),
        f"in {span(bundle['next_refresh_s'])}",
        units,
    )


def _state(bundle: Mapping[str, Any]) -> str:
    return f"{bundle['state']}, failing" if bundle["failures"] else str(bundle["state"])


def _colored(lines: Sequence[str], bundles: Iterable[Mapping[str, Any]], *, color: bool) -> list[str]:
    if not color:
        return list(lines)
    codes = ["1", *(_COLORS["failing" if b["failures"] else b["state"]] for b in bundles)]
    return [f"\x1b[{code}m{line}\x1b[0m" for code, line in zip(codes, lines, strict=True)]


def _troubles(name: str, bundle: Mapping[str, Any]) -> list[str]:
    kept = "the last good generation stays" if bundle["generation"] else "nothing is published"
    lines = []
    for failure in bundle["failures"]:
        since = _ago(bundle["failing_since"])
        lines += [
            "",
            f"{name}: {failure['failure_class']}, {failure['code']}, since {since}; {kept}",
            f"  {failure['message']}",
            f"  fix: {failure['advice']}",
        ]
    for unit in bundle["units"]:
        if unit["message"] and unit["state"] not in ("loaded", "inactive"):
            lines += ["", f"{name}: {unit['unit']} has not loaded generation {bundle['generation']}"]
            lines += [f"  {unit['message']}"] + ([f"  fix: {unit['advice']}"] if unit["advice"] else [])
    return lines


def _details(bundle: Mapping[str, Any]) -> list[str]:
    lines = ["", f"owner: {bundle['owner'] or 'the user who runs secretsd'}"]
    lines.append(f"variables: {', '.join(bundle['variables']) or '-'}")
    if bundle["defaults"]:
        lines.append(f"from the configuration's default: {', '.join(bundle['defaults'])}")
    for secret, keys in bundle["ignored_keys"].items():
        lines.append(f"not published from {secret}: {', '.join(keys)}")
    rows = [("SECRET", "SOURCE", "STAGE", "VERSION", "CREATED")]
    rows += [
        (s["id"], s["source"], s["stage"] or "-", s["version_id"], _ago(s["created_at"]))
        for s in bundle["secrets"]
    ]
    lines += ["", *_table(rows)]
    if any(unit["action"] in ("reload", "signal") for unit in bundle["units"]):
        lines += [
            "",
            "A reload or signal does not change a running process's environment: the bot re-reads its file.",
        ]
    return lines


def plan(document: Mapping[str, Any]) -> str:
    """The steps of `secretsctl plan`, a line each."""
    steps = document["steps"]
    return "\n".join(line for step in steps for line in _step(step)) or "nothing to do"


def _step(step: Mapping[str, Any]) -> list[str]:
    bundle = step["bundle"]
    match step["step"]:
        case "PublishBundle":
            return [f"publish {bundle} as generation {step['generation']}: {step['reason']}"]
        case "KeepPublished":
            return [f"keep    {bundle}: the source confirms what is published"]
        case "KeepStale":
            head = f"keep    {bundle} as it is:"
            return [f"{head} {f['message']} ({f['failure_class']}; {f['advice']})" for f in step["failures"]]
        case "RemoveBundle":
            return [f"remove  {bundle}: {step['reason']}"]
        case _:
            return [f"notify  {step['unit']} of {bundle} generation {step['generation']}: {step['action']}"]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _ago(moment: str | None) -> str:
    if moment is None:
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    return f"{span(max(seconds, 0))} ago"


def span(seconds: float) -> str:
    """A duration for people, its two largest units: "4m 10s"."""
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
