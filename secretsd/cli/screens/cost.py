"""The screen of `secretsctl cost`: calls and dollars of each source, and what would make it less. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from secretsd.cli.text import Cell, View, sentence, table
from secretsd.cli.times import span

_HEADINGS = ("SOURCE", "TYPE", "TODAY", "A DAY", "A MONTH", "CALLS", "SECRETS")
_WELL_KNOWN_S = 24 * 3600.0  # a pace that was seen for a day needs no excuse
_SMALLEST_USD = 0.005

Source = Mapping[str, Any]


def screen(document: Mapping[str, Any], view: View) -> str:
    sources: Mapping[str, Source] = document.get("sources") or {}
    if not sources:
        return "no sources are configured: see secretsd.toml(5)"
    rows: list[Sequence[str | Cell]] = [_HEADINGS, *(_row(name, each) for name, each in sources.items())]
    lines = table(rows, view)
    for name, source in sources.items():
        for text in _remarks(source):
            lines += sentence(f"{name}: {text}", view, indent="")
    return "\n".join([*lines, "", *sentence(_prices(document), view, indent="")])


def _row(name: str, source: Source) -> tuple[str, ...]:
    return (
        name,
        str(source.get("type")),
        _count(sum((source.get("calls_today") or {}).values())),
        _count(source.get("calls_a_day")),
        _count(source.get("calls_a_month")),
        _dollars(source.get("calls_usd")),
        _secrets(source),
    )


def _secrets(source: Source) -> str:
    secrets, replicas = source.get("secrets") or 0, source.get("replicas") or 0
    counted = f"{secrets} + {replicas} replicas" if replicas else str(secrets)
    usd = source.get("secrets_usd")
    return f"{_dollars(usd)} for {counted}" if usd else counted


def _remarks(source: Source) -> Iterator[str]:
    seen_s = float(source.get("seen_s") or 0.0)
    if source.get("calls_a_day") is None and source.get("calls_today"):
        yield f"its calls were counted for {span(seen_s)}: what a day takes is told after an hour"
    elif source.get("calls_a_day") is not None and seen_s < _WELL_KNOWN_S:
        yield f"its calls were counted for {span(seen_s)} only; a day and a month are reckoned from that"
    for saving in source.get("savings") or ():
        yield _saving(saving, source.get("refresh_interval_s"))


def _saving(saving: Mapping[str, Any], interval_s: float | None) -> str:
    usd, longer_s = float(saving.get("usd") or 0.0), float(saving.get("refresh_interval_s") or 0.0)
    now = f" instead of {_exact(interval_s)}" if interval_s else ""
    if saving.get("way") == "push":
        way = f"with push (new versions in about a second, a refresh every {_exact(longer_s)})"
    else:
        way = f'with refresh_interval = "{_exact(longer_s)}"{now}'
    if abs(usd) < _SMALLEST_USD:
        return f"{way} it costs the same"
    return f"{way} its calls cost {_dollars(abs(usd))} {'less' if usd > 0 else 'more'} a month"


def _prices(document: Mapping[str, Any]) -> str:
    prices = document.get("prices") or {}
    return (
        f"A month has {prices.get('month_days')} days, at AWS's prices for {prices.get('region')} of"
        f" {prices.get('as_of')}. CALLS are this host's; SECRETS are the account's, paid once however many"
        " hosts read them. Parameters are counted as standard ones, which are free, and the first million"
        " calls of SQS as this host's alone. KMS, taxes and traffic are not in it."
    )


def _exact(seconds: float) -> str:
    return span(seconds).replace(" ", "")


def _count(number: float | None) -> str:
    return "-" if number is None else f"{round(number):,}"


def _dollars(usd: float | None) -> str:
    return "-" if usd is None else f"${usd:,.2f}"
