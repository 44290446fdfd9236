"""What the status screens say of sources that do not answer or are asked in another region. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from secretsd.cli.text import View, sentence
from secretsd.cli.times import relative, span

Source = Mapping[str, Any]

_SKEW_TOLD_S = 60.0  # AWS refuses from five minutes on


def sources_in_trouble(document: Mapping[str, Any], view: View) -> list[str]:
    """Lines for each source that is not as it should be; none where all are."""
    lines: list[str] = []
    for name, source in (document.get("sources") or {}).items():
        for text in _words(name, source, view):
            lines += sentence(text, view, indent="")
    return lines


def _words(name: str, source: Source, view: View) -> Iterator[str]:
    if away_since := source.get("away_since"):
        home, where = source.get("home_region"), f"asked in {source.get('region')}"
        states = [each.get("state") for each in source.get("endpoints") or () if each.get("region") == home]
        home_does = "does not answer" if "fails" in states else "answers again and is being watched"
        yield f"source {name}: {where} since {relative(away_since, view.now)}, {home} {home_does}"
    for endpoint in source.get("endpoints") or ():
        if endpoint.get("state") == "fails":
            yield f"source {name}: {_failing(endpoint, view)}"
    skew_s = source.get("clock_skew_s")
    if skew_s is not None and abs(skew_s) >= _SKEW_TOLD_S:
        where = "ahead of" if skew_s > 0 else "behind"
        yield f"source {name}: this host's clock is {span(abs(skew_s), parts=2)} {where} its clock"


def _failing(endpoint: Mapping[str, Any], view: View) -> str:
    failures = endpoint.get("failures") or 0
    times = "once" if failures == 1 else f"{failures} times in a row"
    retry = endpoint.get("retry_s")
    again = "" if retry is None else f", asked again in {span(float(retry), parts=1)}"
    since = relative(endpoint.get("since"), view.now)
    return f"{endpoint.get('endpoint')} failed {times}, first {since} ({endpoint.get('code')}){again}"
