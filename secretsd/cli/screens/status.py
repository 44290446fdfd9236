"""The screens of `secretsctl status`: all bundles in one table, or everything about one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from secretsd.cli.screens import bundle as of
from secretsd.cli.screens.bundle import Bundle
from secretsd.cli.screens.sources import sources_in_trouble
from secretsd.cli.text import (
    BOLD,
    Cell,
    View,
    fits,
    paint,
    sentence,
    short,
    start_of_last,
    table,
    text_of,
    width,
)
from secretsd.cli.times import absolute, relative, span

_HEADINGS = ("BUNDLE", "STATE", "GEN", "PUBLISHED", "CONFIRMED", "NEXT", "UNITS")
_CONFIRMED, _NEXT, _PUBLISHED = 4, 5, 3
_SPARED = ((_CONFIRMED,), (_CONFIRMED, _NEXT), (_CONFIRMED, _NEXT, _PUBLISHED))
_DRIFT_SHOWN_S = 24 * 3600.0  # afterwards only the bundle's own screen tells of it
_NAMES_SHOWN = 5
_OF_SOURCES = ("transient", "identity")
_SECRET = "\0"
_MOST = 10  # of so many rows one may need a line more


def all_bundles(document: Mapping[str, Any], view: View) -> str:
    """A line for each bundle, those in trouble first; then what is wrong, with the fix."""
    bundles: Mapping[str, Bundle] = document.get("bundles") or {}
    lines = _head(document, view)
    if not bundles:
        return "\n".join([*lines, "no bundles are configured: see secretsd(8)"])
    names = sorted(bundles, key=lambda name: (of.rank(bundles[name]), name))
    rows: list[Sequence[str | Cell]] = [_HEADINGS, *(_row(name, bundles[name], view) for name in names)]
    lines += [of.summary(bundles.values()), "", *table(_fitting(rows, view), view)]
    lines += _failures({name: bundles[name] for name in names}, view)
    for name in names:
        lines += _too_old(name, bundles[name], view)
        lines += _waiting_units(name, bundles[name], view)
        lines += _hold(name, bundles[name], view)
        lines += _late_drift(name, bundles[name], view)
    return "\n".join(lines)


def one_bundle(document: Mapping[str, Any], view: View) -> str:
    """Everything about the one bundle of the document."""
    lines = _head(document, view)
    for name, bundle in (document.get("bundles") or {}).items():
        lines += ["", f"{paint(name, BOLD, view)}: {paint(of.state(bundle), of.color(bundle), view)}"]
        wide = max(len(label) for label, _ in _facts(bundle, view))
        for label, text in _facts(bundle, view):
            first, *more = sentence(text, view, indent=" " * (wide + 4))
            lines += [f"  {label.ljust(wide)}  {first.lstrip()}", *more]
        lines += _unit_table(bundle, view) + _secret_table(bundle, view)
        lines += _failures({name: bundle}, view) + _too_old(name, bundle, view)
        lines += _waiting_units(name, bundle, view)
        lines += _reload_note(bundle, view)
    return "\n".join(lines)


def _head(document: Mapping[str, Any], view: View) -> list[str]:
    daemon = document.get("daemon") or {}
    starting = "" if daemon.get("ready", True) else ", starting"
    head = f"secretsd {daemon.get('version', '?')}, files on {daemon.get('memory', '?')}{starting}"
    warnings = [sentence(f"warning: {text}", view, indent="") for text in daemon.get("warnings") or ()]
    return [head, *(line for lines in warnings for line in lines), *sources_in_trouble(document, view)]


def _row(name: str, bundle: Bundle, view: View) -> tuple[str | Cell, ...]:
    return (
        name,
        Cell(of.state(bundle), of.color(bundle)),
        str(bundle.get("generation") or "-").rjust(3),
        relative(bundle.get("published_at"), view.now),
        relative(bundle.get("confirmed_at"), view.now),
        _next(bundle, parts=1),
        of.units_in_short(name, bundle, view),
    )


def _fitting(rows: Sequence[Sequence[str | Cell]], view: View) -> Sequence[Sequence[str | Cell]]:
    """The rows without the columns that a narrow terminal has no room for: first those that matter least."""
    if view.columns is None:
        return rows
    fewer = rows
    for spared in ((), *_SPARED):
        fewer = [[cell for number, cell in enumerate(row) if number not in spared] for row in rows]
        room = view.columns - start_of_last(fewer)
        crowded = sum(not fits(text_of(row[-1]), room) for row in fewer)
        # A few rows with much to say are no reason to tell less of all the others.
        if crowded * _MOST <= len(rows):
            break
    return fewer


def _next(bundle: Bundle, *, parts: int) -> str:
    seconds = bundle.get("next_refresh_s")
    if seconds is None:
        return "-"
    return f"in {span(float(seconds), parts=parts)}" if seconds >= 0.5 else "now"


def _failures(bundles: Mapping[str, Bundle], view: View) -> list[str]:
    """A paragraph for each failure; bundles that fail for the same reason share one."""
    shared: dict[tuple[str, ...], dict[str, list[str]]] = {}  # -> the secrets, with the bundles of each
    for name, bundle in bundles.items():
        for failure in bundle.get("failures") or ():
            message, secret = _without_secret(failure)
            words = tuple(str(failure.get(key, "")) for key in ("failure_class", "code", "advice"))
            shared.setdefault((*words, message, _kept(bundle)), {}).setdefault(secret, []).append(name)
    lines: list[str] = []
    for (failure_class, code, advice, message, kept), secrets in shared.items():
        told = message.replace(_SECRET, _first_of(list(secrets)))
        names = list(dict.fromkeys(name for each in secrets.values() for name in each))
        since = min(filter(None, (bundles[name].get("failing_since") for name in names)), default=None)
        text = f"{_some(names)}: {failure_class}, {code}, since {relative(since, view.now)}; {kept}"
        lines += ["", *sentence(text, view, indent=""), *sentence(told, view)]
        lines += sentence(f"fix: {advice}", view) if advice else []
    return lines


def _without_secret(failure: Mapping[str, Any]) -> tuple[str, str]:
    """The message with a mark where it names a secret, and that secret; where all may meet it alike."""
    message, secret = str(failure.get("message", "")), str(failure.get("secret") or "")
    if failure.get("failure_class") not in _OF_SOURCES or not secret:
        return message, ""
    return message.replace(secret, _SECRET), secret


def _first_of(secrets: Sequence[str]) -> str:
    return secrets[0] if len(secrets) == 1 else f"{secrets[0]} and {len(secrets) - 1} more"


def _too_old(name: str, bundle: Bundle, view: View) -> list[str]:
    if not bundle.get("too_old"):
        return []
    head = f"{name}: no unit starts on it any more: confirmed longer ago than its max_age"
    fix = "to start one all the same: wait --allow-stale in its ExecStartPre=, or a longer max_age"
    return ["", *sentence(head, view, indent=""), *sentence(f"fix: {fix}, then: secretsctl reload", view)]


def _kept(bundle: Bundle) -> str:
    if not bundle.get("generation"):
        return "nothing is published"
    if of.is_from_sealed_copy(bundle):
        return "what came from the sealed copy stays"
    return "the last good generation stays"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _waiting_units(name: str, bundle: Bundle, view: View) -> list[str]:
    lines: list[str] = []
    for unit in filter(of.waits, of.units(bundle)):
        head = f"{name}: {unit.get('unit')} has not loaded generation {bundle.get('generation')}"
        until = relative(unit.get("until"), view.now)
        when = f" ({until})" if until.startswith("in ") else ""
        lines += ["", *sentence(head, view, indent=""), *sentence(f"{unit['message']}{when}", view)]
        lines += sentence(f"fix: {unit['advice']}", view) if unit.get("advice") else []
    return lines


def _hold(name: str, bundle: Bundle, view: View) -> list[str]:
    words = of.hold_in_words(bundle, view)
    if not words:
        return []
    first, *more = words
    resume = f"to end it: secretsctl resume {name}"
    return ["", *sentence(f"{name}: {first}", view, indent=""), *_indented([*more, resume], view)]


def _late_drift(name: str, bundle: Bundle, view: View) -> list[str]:
    drift = bundle.get("drift") or {}
    words = of.drift_in_words(bundle, view) if _age_s(drift.get("last_at"), view) < _DRIFT_SHOWN_S else []
    if not words:
        return []
    first, *more = words
    return ["", *sentence(f"{name}: {first}", view, indent=""), *_indented(more, view)]


def _age_s(moment: object, view: View) -> float:
    try:
        return (view.now - datetime.fromisoformat(str(moment))).total_seconds()
    except (ValueError, TypeError):
        return float("inf")


def _indented(texts: Sequence[str], view: View) -> list[str]:
    return [line for text in texts for line in sentence(text, view)]


def _facts(bundle: Bundle, view: View) -> Iterator[tuple[str, str]]:
    yield "owner", str(bundle.get("owner") or "the user who runs secretsd")
    generation = bundle.get("generation")
    if generation is None:
        yield "published", "nothing"
    else:
        published = bundle.get("published_at")
        yield "generation", f"{generation}, {relative(published, view.now, parts=2)} ({absolute(published)})"
    yield "confirmed", f"{relative(bundle.get('confirmed_at'), view.now, parts=2)}{_limit(bundle)}"
    yield "next refresh", _next(bundle, parts=2)
    for label, words in (
        ("hold", of.hold_in_words(bundle, view)),
        ("drift", of.drift_in_words(bundle, view)),
        ("sealed copy", of.sealed_in_words(bundle, view)),
    ):
        for number, text in enumerate(words):
            yield "" if number else label, text
    yield "variables", ", ".join(bundle.get("variables") or ()) or "-"
    if defaults := bundle.get("defaults"):
        yield "defaults", f"{', '.join(defaults)} (from the configuration, no secret has them)"
    for secret, keys in (bundle.get("ignored_keys") or {}).items():
        yield "not published", f"{', '.join(keys)} (of {secret}: the variables table does not name them)"


def _limit(bundle: Bundle) -> str:
    max_age_s = bundle.get("max_age_s")
    if max_age_s is None:
        return ""
    meaning = "no unit starts on it any more" if bundle.get("too_old") else "no unit starts on it beyond that"
    return f" (max_age {span(float(max_age_s), parts=2)}: {meaning})"


def _unit_table(bundle: Bundle, view: View) -> list[str]:
    rows: list[Sequence[str | Cell]] = [("UNIT", "ACTION", "GEN", "STATE")]
    rows += [
        (
            str(unit.get("unit")),
            str(unit.get("action")),
            str(unit.get("loaded_generation") or "-").rjust(3),
            Cell(of.unit_state(unit, view), of.unit_color(unit)),
        )
        for unit in of.units(bundle)
    ]
    return ["", *table(rows, view)] if len(rows) > 1 else []


def _secret_table(bundle: Bundle, view: View) -> list[str]:
    secrets = bundle.get("secrets") or ()
    rows: list[Sequence[str | Cell]] = [("SECRET", "SOURCE", "STAGE", "CREATED", "VERSION")]
    for secret in secrets:
        created, version = relative(secret.get("created_at"), view.now), str(secret.get("version_id"))
        stage = str(secret.get("stage") or "-")
        rows.append((str(secret.get("id")), str(secret.get("source")), stage, created, version))
    return ["", *_narrowed(rows, view)] if secrets else []


def _narrowed(rows: Sequence[Sequence[str | Cell]], view: View) -> list[str]:
    """The table, with versions cut short where whole ones have no room."""
    if not _is_too_wide(rows, view):
        return table(rows, view)
    return table([rows[0], *([*row[:-1], short(str(row[-1]))] for row in rows[1:])], view)


def _is_too_wide(rows: Sequence[Sequence[str | Cell]], view: View) -> bool:
    """Whether a row would not be one line."""
    if view.columns is None:
        return False
    lines = table(rows, view._replace(color=False))
    return len(lines) > len(rows) or any(width(line) > view.columns for line in lines)


def _reload_note(bundle: Bundle, view: View) -> list[str]:
    if not any(unit.get("action") in ("reload", "signal") for unit in of.units(bundle)):
        return []
    note = "A reload or signal does not change a running process's environment: the bot re-reads its file."
    return ["", *sentence(note, view, indent="")]
