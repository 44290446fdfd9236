"""What the screens say of a bundle: its state in words, its rank and colour, its holds and failures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from secretsd.cli.text import GREEN, NO_BREAK, RED, YELLOW, View
from secretsd.cli.times import absolute, relative

Bundle = Mapping[str, Any]

# The worst first: the order of rows, and of the summary.
_RANKS = (
    *("missing", "altered", "too old", "failing", "not loaded"),
    *("sealed", "published", "notified", "rolled back", "held", "loaded"),
)
_COLORS = {
    **dict.fromkeys(("missing", "altered", "too old", "failing", "not loaded"), RED),
    **dict.fromkeys(("sealed", "published", "notified", "rolled back", "held"), YELLOW),
    "loaded": GREEN,
}
_QUIET = ("loaded", "inactive", "not told")  # states of a unit that nobody has to look at
_COLORS_OF_UNITS = {"loaded": GREEN, "inactive": "", "not told": "", "failed": RED}


def state(bundle: Bundle) -> str:
    """The bundle's state in words: "loaded", "published, sealed, failing", "loaded, held"."""
    words = [str(bundle.get("state", "?"))]
    hold = bundle.get("hold")
    if hold:
        words.append("rolled back" if hold.get("kind") == "rollback" else "held")
    if is_from_sealed_copy(bundle):
        words.append("sealed")
    if bundle.get("failures"):
        words.append("failing")
    if bundle.get("too_old"):
        words.append("too old")
    return ", ".join(words)


def is_from_sealed_copy(bundle: Bundle) -> bool:
    """Whether what is published came from the sealed copy, and no source has confirmed it since."""
    return bool((bundle.get("sealed") or {}).get("in_use"))


def sealed_in_words(bundle: Bundle, view: View) -> list[str]:
    """The sealed copy, how old it is and until when a boot takes it; nothing where none is configured."""
    sealed = bundle.get("sealed")
    if sealed is None:
        return []
    words = [f"not made: {sealed['problem']}"] if sealed.get("problem") else []
    if not sealed.get("confirmed_at"):
        return words or ["there is none yet: it is made when the source has answered"]
    confirmed, until = relative(sealed["confirmed_at"], view.now), absolute(sealed.get("until"))
    use = "it is what is published: no source has answered since" if sealed.get("in_use") else "kept"
    is_over = relative(sealed.get("until"), view.now).endswith(" ago")
    boot = f"a boot has refused it since {until}" if is_over else f"a boot takes it until {until}"
    words.append(f"{use}; confirmed {confirmed}, {boot}")
    if not sealed.get("has_counter"):
        # The one attack that it does not hold against, said where somebody who relies on it looks.
        words.append("restoring an older state of this disk would bring back an older copy")
    return words


def worst(bundle: Bundle) -> str:
    """The one word for the summary: what is most in need of somebody."""
    words = {*state(bundle).split(", ")}
    if "published" in words and any(is_late(unit) for unit in units(bundle)):
        words.add("not loaded")
    return min(words, key=_rank)


def _rank(word: str) -> int:
    return _RANKS.index(word) if word in _RANKS else 0  # what a newer daemon says deserves a look


def rank(bundle: Bundle) -> int:
    return _rank(worst(bundle))


def color(bundle: Bundle) -> str:
    return _COLORS.get(worst(bundle), RED)


def is_late(unit: Mapping[str, Any]) -> bool:
    """Whether somebody should see to it that the unit loads what is published."""
    return unit.get("state") == "failed" or bool(unit.get("overdue"))


def unit_color(unit: Mapping[str, Any]) -> str:
    return RED if is_late(unit) else _COLORS_OF_UNITS.get(str(unit.get("state")), YELLOW)


def summary(bundles: Iterable[Bundle]) -> str:
    """ "200 bundles: 2 failing, 198 loaded"."""
    words = sorted((worst(bundle) for bundle in bundles), key=_rank)
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    noun = "bundle" if len(words) == 1 else "bundles"
    return f"{len(words)} {noun}: " + ", ".join(f"{count} {word}" for word, count in counts.items())


def units(bundle: Bundle) -> list[Mapping[str, Any]]:
    return list(bundle.get("units") or ())


def units_in_short(name: str, bundle: Bundle, view: View) -> str:
    """Each unit that is not as it should be by name, the others by number; of a namesake only its state."""
    every = units(bundle)
    if len(every) == 1 and every[0].get("unit") == f"{name}.service":
        return unit_state(every[0], view).replace(" ", NO_BREAK)
    named = every if len(every) == 1 else [unit for unit in every if unit.get("state") not in _QUIET]
    parts = [f"{unit.get('unit')} {unit_state(unit, view)}".replace(" ", NO_BREAK) for unit in named]
    others = [str(unit.get("state")) for unit in every if unit not in named]
    parts += [
        f"{others.count(word)}{NO_BREAK}{word}".replace(" ", NO_BREAK) for word in dict.fromkeys(others)
    ]
    return ", ".join(parts) or "-"


def unit_state(unit: Mapping[str, Any], view: View) -> str:
    word, until = str(unit.get("state", "?")), relative(unit.get("until"), view.now)
    word = f"{word}, overdue" if unit.get("overdue") else word
    return f"{word}, {until}" if until.startswith("in ") else word


def waits(unit: Mapping[str, Any]) -> bool:
    """Whether somebody may want to know why this unit has not loaded what is published."""
    return bool(unit.get("message")) and unit.get("state") not in _QUIET


def hold_in_words(bundle: Bundle, view: View) -> list[str]:
    """What is held, since when, by whom and why, and what waits; nothing where nothing is held."""
    hold = bundle.get("hold")
    if not hold:
        return []
    shown, before = hold.get("generation"), hold.get("from_generation")
    # After a reboot nothing is shown until the source has answered.
    where = f"generation {shown}" if shown else "a version that is not published yet"
    what = f"held at {where}"
    if hold.get("kind") == "rollback":
        origin = f" from generation {before}" if before else ""
        what = f"rolled back{origin} to {shown if shown and before else where}"
    why = f": {hold['reason']}" if hold.get("reason") else ""
    lines = [f"{what}, {relative(hold.get('since'), view.now)}, by {hold.get('by') or 'somebody'}{why}"]
    if waiting := hold.get("waiting"):
        lines.append(f"waiting in the source: {', '.join(map(str, waiting))}")
    return lines


def drift_in_words(bundle: Bundle, view: View) -> list[str]:
    """What somebody did to the published files, and whether it was repaired."""
    drift = bundle.get("drift") or {}
    if not drift.get("count"):
        return []
    times = "once" if drift["count"] == 1 else f"{drift['count']} times"
    outcome = "repaired" if drift.get("repaired") else "not repaired"
    head = f"altered on this host {times}, last {relative(drift.get('last_at'), view.now)}, {outcome}"
    return [head, *map(str, drift.get("last") or ())]
