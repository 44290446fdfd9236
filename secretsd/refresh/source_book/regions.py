"""Which endpoint a source is asked at first: its own region, or another one for a while. Pure.

Going over takes one fetch in which the first could not answer. Going back takes several probes in a row, some
time apart: a region that comes and goes would otherwise be believed each time that it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from secretsd.model import EndpointSeen, Route, Stop

PROBES_TO_RETURN = 3
PROBE_PAUSE_S = 60.0
# The code of an endpoint that answered so slowly that its worker was killed, before any other was asked.
SILENT = "no-answer"


@dataclass(frozen=True, slots=True)
class RegionInUse:
    """Where a source is asked first. A new one: where its configuration says."""

    endpoint: str | None = None  # None: the first of its stops
    since: float | None = None  # when it went there, seconds since the epoch
    good_probes: int = 0  # of the first stop, in a row
    probe_at: float = 0.0  # monotonic seconds


def route(stops: Sequence[Stop], use: RegionInUse, *, now: float) -> Route:
    """The stops in the order to ask them; `now` is monotonic, in seconds."""
    first = next((stop for stop in stops if stop.endpoint == use.endpoint), None)
    if first is None or first is stops[0]:
        return Route(tuple(stops))
    others = tuple(stop for stop in stops if stop is not first)
    return Route((first, *others), stops[0] if now >= use.probe_at else None)


def after(
    stops: Sequence[Stop], use: RegionInUse, seen: Sequence[EndpointSeen], *, now: float, wall: float
) -> RegionInUse:
    """Where to ask first after a fetch that has seen `seen`. `wall` is in seconds since the epoch."""
    if not stops:
        return use
    did = {each.endpoint: each.did for each in seen}
    home = stops[0].endpoint
    current = use.endpoint if any(stop.endpoint == use.endpoint for stop in stops) else home
    if did.get(current or home) == "fails":
        answering = [stop.endpoint for stop in stops if did.get(stop.endpoint) == "answers"]
        if not answering and any(each.code == SILENT for each in seen):
            answering = _behind(stops, current or home)
        if not answering:
            return use
        if answering[0] == home:
            return RegionInUse()
        return RegionInUse(answering[0], wall, 0, now + PROBE_PAUSE_S)
    if current == home:
        return RegionInUse()
    match did.get(home):
        case "answers" if use.good_probes + 1 >= PROBES_TO_RETURN:
            return RegionInUse()
        case "answers":
            return replace(use, good_probes=use.good_probes + 1, probe_at=now + PROBE_PAUSE_S)
        case "fails":
            return replace(use, good_probes=0, probe_at=now + PROBE_PAUSE_S)
    return use


def _behind(stops: Sequence[Stop], endpoint: str) -> list[str]:
    """The endpoint after this one, in a circle; none where it is the only one."""
    names = [stop.endpoint for stop in stops]
    at = names.index(endpoint)
    return (names[at + 1 :] + names[:at])[:1]
