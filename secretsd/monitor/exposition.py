"""Metrics as text, by the data model and the writer of prometheus-client: two modules of it, see parts.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from secretsd.monitor.catalogue import Metric
from secretsd.parts import parts_of

OPENMETRICS = "application/openmetrics-text"
_OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
_TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OF_NO_SAMPLE = {"counter": "_total", "info": "_info"}  # what the names of such samples end with
_IN_TEXT = {"info": "gauge"}  # kinds that the older text does not have
_END = b"# EOF\n"

Labels = tuple[str, ...]


class Sheet:
    """What one scrape answers. A sample has a value for each label of its metric, in their order."""

    def __init__(self) -> None:
        self._families: dict[str, Any] = {}

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """One sample of a gauge, a counter or an info."""
        suffix = _OF_NO_SAMPLE.get(metric.kind, "")
        self._add(metric, suffix, dict(zip(metric.labels, labels, strict=True)), value)

    def spread(
        self, metric: Metric, bounds_s: Sequence[float], counts: Sequence[int], sum_s: float, *labels: str
    ) -> None:
        """A histogram: how many were at most each bound and above the one before, and above the last one."""
        named = dict(zip(metric.labels, labels, strict=True))
        total = 0
        for bound, count in zip((*map(repr, bounds_s), "+Inf"), counts, strict=True):
            total += count
            self._add(metric, "_bucket", {**named, "le": bound}, total)
        self._add(metric, "_count", named, total)
        self._add(metric, "_sum", named, sum_s)

    def _add(self, metric: Metric, suffix: str, labels: dict[str, str], value: float) -> None:
        family = self._families.get(metric.name)
        if family is None:
            family = _core.Metric(metric.name, metric.help, metric.kind)
            self._families[metric.name] = family
        family.add_sample(metric.name + suffix, labels, value)

    def collect(self) -> Iterable[Any]:
        """As a registry of prometheus-client has it."""
        return self._families.values()


def encoded(sheet: Sheet, accepted: frozenset[str] = frozenset()) -> tuple[bytes, str]:
    """The sheet and its content type. Takes about 5 us a sample.

    It is OpenMetrics 1.0 for who accepts that, as Prometheus does, and for everybody else the older text
    (0.0.4), which every tool reads.
    """
    if OPENMETRICS in accepted:
        return _written(sheet), _OPENMETRICS_TYPE
    return _written(_Text(sheet)).removesuffix(_END), _TEXT_TYPE


class _Text:
    """A sheet as the older text describes it: there a family has the name of its samples."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet

    def collect(self) -> Iterable[Any]:
        for family in self._sheet.collect():
            name = family.name + _OF_NO_SAMPLE.get(family.type, "")
            again = _core.Metric(name, family.documentation, _IN_TEXT.get(family.type, family.type))
            again.samples = family.samples
            yield again


def _written(registry: Sheet | _Text) -> bytes:
    text: bytes = _writer.generate_latest(registry)
    return text


_core: Any
_writer: Any
_core, _writer = parts_of("prometheus_client", "metrics_core", "openmetrics.exposition")
