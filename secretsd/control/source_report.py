"""What the conductor knows of its sources, as documents for `status`. No values anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from secretsd.config.models import Config
from secretsd.control.push_report import push_document
from secretsd.model import Stop
from secretsd.moments import iso
from secretsd.refresh.push.state import PushState
from secretsd.refresh.source_book.book import SourceBook
from secretsd.refresh.source_book.breaker import Breaker
from secretsd.refresh.source_book.endpoints import stops


def source_documents(
    config: Config, book: SourceBook, pushes: Mapping[str, PushState]
) -> dict[str, dict[str, object]]:
    """A document for each configured source; times are ISO 8601 in UTC."""
    return {
        name: {**_source(config, book, name), "push": push_document(pushes.get(name))}
        for name in sorted(config.sources)
    }


def _source(config: Config, book: SourceBook, name: str) -> dict[str, object]:
    ways, known = stops(config.sources[name]), book.state(name)
    first = next((stop for stop in ways if stop.endpoint == known.use.endpoint), ways[0] if ways else None)
    is_out = book.is_out(config, name)
    is_away = first is not None and first is not ways[0]
    return {
        "type": config.sources[name].type,
        "region": first.region if first else None,
        "home_region": ways[0].region if ways else None,
        "away_since": iso(known.use.since) if is_away else None,
        "clock_skew_s": round(known.skew_s, 1) if known.skew_s is not None else None,
        "endpoints": [_endpoint(stop, book.breakers.get(stop.endpoint), is_out=is_out) for stop in ways],
    }


def _endpoint(stop: Stop, breaker: Breaker | None, *, is_out: bool) -> dict[str, object]:
    if breaker is None or breaker.is_closed:
        state, breaker = ("unknown" if breaker is None else "answers"), Breaker()
    else:
        state = "fails"
    return {
        "endpoint": stop.endpoint,
        "region": stop.region,
        "state": state,
        "since": iso(breaker.since),
        "code": breaker.code or None,
        "failures": breaker.failures,
        "retry_s": round(max(0.0, breaker.retry_at - time.monotonic()), 1) if is_out else None,
    }
