"""What was learned, as a document that outlives the daemon. Pure.

Its seconds count from the first start, and stand in no relation to the time of day: a clock that is set back
must not make what is old new.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from secretsd.unusual.uses import MOST_ACTORS, Meter, Uses, Watched

SCHEMA = 1
# An idle daemon saves nothing, and a power failure must not make it learn again; but what is usual is not
# forgotten because a host was off for weeks.
_MOST_AWAY_S = 86400.0
_NUMBERS = ("day", "today", "this_week", "last_week")
# What a document that this module did not write can raise on its way to meters.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


def encoded(uses: Uses, *, age_s: float, wall: float) -> dict[str, Any]:
    """For JSON; copies all it holds, so that it can be written by another thread. `wall`: now, epoch."""
    things = [
        {
            "thing": list(thing),
            "born_s": watched.born_s,
            "by": {
                who: [*(getattr(meter, name) for name in _NUMBERS), int(meter.is_told)]
                for who, meter in watched.by.items()
                if meter.is_known
            },
        }
        for thing, watched in uses.things.items()
    ]
    return {"schema": SCHEMA, "age_s": age_s, "saved_at": wall, "things": things}


def decoded(text: bytes, *, wall: float) -> tuple[Uses, float]:
    """What was learned, and its age now. While nothing ran it grew with the clock, by a day at the most.

    Raises: ValueError where the text is no such document.
    """
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError("a schema that is unknown")
        away_s = min(_MOST_AWAY_S, max(0.0, wall - _seconds(document["saved_at"])))
        age_s = _seconds(document["age_s"]) + away_s
        uses = Uses()
        for each in document["things"]:
            thing = tuple(map(str, each["thing"]))
            # Not from some later day on: until then nothing would be told of it.
            uses.things[thing] = Watched(min(_seconds(each["born_s"]), age_s), _meters(thing, each["by"]))
    except _DAMAGE:
        raise ValueError("it is damaged, or of another version of secretsd") from None
    return uses, age_s


def _meters(thing: tuple[str, ...], by: Mapping[str, Any]) -> dict[str, Meter]:
    if len(by) > MOST_ACTORS + 1:
        raise ValueError("more actors than can be")
    return {who: _meter(thing, who, numbers) for who, numbers in by.items()}


def _meter(thing: tuple[str, ...], who: str, numbers: Any) -> Meter:
    day, today, this_week, last_week, is_told = map(int, numbers)
    return Meter(
        thing,
        who,
        is_known=True,
        is_told=bool(is_told),
        day=day,
        today=today,
        this_week=this_week,
        last_week=last_week,
    )


def _seconds(value: Any) -> float:
    number = float(value)
    if not isfinite(number) or number < 0:
        raise ValueError("a time that is none")
    return number
