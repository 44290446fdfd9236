"""What each source costs: the document of `secretsctl cost`. Pure.

Figures of a month are what was counted, stretched: nothing is said of a source that was seen for too short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

from secretsd.config.models import Config
from secretsd.config.sources import AwsSecretsManager
from secretsd.control import prices
from secretsd.refresh.source_book.call_days import KEPT_DAYS, Days, Tally, of_day, of_last

_AVERAGED_DAYS = 7
_LEAST_SEEN_S = 3600.0  # a start asks at once: over less than this its calls would count for too much
_DAY_S = 86_400.0
_LONGER_S = 900.0
_POLLS_A_MONTH = prices.MONTH_DAYS * _DAY_S / 20.0  # the longest that SQS waits for a message
_WITH_PUSH_S = 1800.0  # the default of push.refresh_interval

Calls = Mapping[str, float]  # by operation


def document(config: Config, days: Days, today: date) -> dict[str, object]:
    """The answer to `cost`: dollars of a month, seconds, numbers of calls."""
    sources = {name: _Source(config, name).document(days, today) for name in sorted(config.sources)}
    return {
        "prices": {"as_of": prices.AS_OF, "region": prices.REGION, "month_days": prices.MONTH_DAYS},
        "sources": sources,
    }


class _Source:
    """One source with the bundles that want it."""

    def __init__(self, config: Config, name: str) -> None:
        self.name = name
        self.table = config.sources[name]
        # Only Secrets Manager charges by the call, and for a secret's being there.
        self.paid = self.table if isinstance(self.table, AwsSecretsManager) else None
        self.ids = {s.id for bundle in config.bundles.values() for s in bundle.secrets if s.source == name}
        self.jitter_s = config.daemon.refresh_jitter_s / 2  # of each wait, on average
        at_least_s = self.paid.push.refresh_interval_s if self.paid and self.paid.push else 0.0
        self.intervals_s = [
            max(config.interval_s(other), at_least_s)
            for other, bundle in config.bundles.items()
            if any(secret.source == name for secret in bundle.secrets)
        ]

    def document(self, days: Days, today: date) -> dict[str, object]:
        recent = of_last(days, today, self.name, _AVERAGED_DAYS)
        month = _month(recent)
        replicas = len(self.ids) * len(self.paid.failover_regions) if self.paid else 0
        kept_usd = (len(self.ids) + replicas) * prices.SECRET_USD_A_MONTH if self.paid else 0.0
        return {
            "type": self.table.type,
            "secrets": len(self.ids),
            "replicas": replicas,
            "secrets_usd": _cents(kept_usd),
            "refresh_interval_s": min(self.intervals_s, default=None),
            "calls_today": dict(of_day(days, today, self.name).calls),
            "seen_s": round(recent.seen_s),
            "calls_a_day": None if month is None else round(sum(month.values()) / prices.MONTH_DAYS, 1),
            "calls_a_month": None if month is None else round(sum(month.values())),
            "calls_usd": self._calls_usd(month),
            "savings": list(self._savings(month)) if self.paid and month else [],
            "days": {day.isoformat(): _day(tally) for day, tally in self._seen(days, today)},
        }

    def _calls_usd(self, month: Calls | None) -> float | None:
        if month is None:
            return None if self.paid else 0.0
        return _cents(prices.calls_usd(self.table.type, month))

    def _seen(self, days: Days, today: date) -> Iterator[tuple[date, Tally]]:
        for back in range(KEPT_DAYS):
            day = today - timedelta(days=back)
            tally = of_day(days, day, self.name)
            if tally.calls or tally.seen_s:
                yield day, tally

    def _savings(self, month: Calls) -> Iterator[dict[str, object]]:
        """What a month would cost less with a longer interval, and with a queue that tells of new versions.

        Where bundles have intervals of their own, each counts alike: which of them a call was for is not
        known.
        """
        now_usd = prices.calls_usd(self.table.type, prices.without_queue(month))
        if not self.intervals_s or not now_usd:
            return
        longer_s = max(2 * min(self.intervals_s), _LONGER_S)
        yield _saving("interval", longer_s, now_usd * (1 - self._left(longer_s)))
        if self.paid and self.paid.push is None:
            queue_usd = prices.calls_usd(self.table.type, {"ReceiveMessage": _POLLS_A_MONTH})
            yield _saving("push", _WITH_PUSH_S, now_usd * (1 - self._left(_WITH_PUSH_S)) - queue_usd)

    def _left(self, longer_s: float) -> float:
        """Which part of the refreshes is left if none comes sooner than `longer_s` after the one before."""
        pace = sum(1 / (interval_s + self.jitter_s) for interval_s in self.intervals_s)
        slower = sum(1 / (max(interval_s, longer_s) + self.jitter_s) for interval_s in self.intervals_s)
        return slower / pace


def _month(recent: Tally) -> Calls | None:
    """The calls of a month at the pace that was seen; None where it was not seen for long enough."""
    if recent.seen_s < _LEAST_SEEN_S:
        return None
    stretch = prices.MONTH_DAYS * _DAY_S / recent.seen_s
    return {operation: count * stretch for operation, count in recent.calls.items()}


def _day(tally: Tally) -> dict[str, object]:
    return {"seen_s": round(tally.seen_s), "calls": dict(tally.calls)}


def _saving(way: str, refresh_interval_s: float, usd: float) -> dict[str, object]:
    return {"way": way, "refresh_interval_s": refresh_interval_s, "usd": _cents(usd)}


def _cents(usd: float) -> float:
    return round(usd, 2)
