"""When an outage ends, the hosts of a fleet do not all ask in the same second."""

from __future__ import annotations

from tests.bench.figures import Figure
from tests.bench.herd import HOSTS, measure


def test_a_fleet_comes_back_spread_over_its_interval_and_would_not_without_jitter() -> None:
    figures: dict[str, Figure] = {figure.what: figure for figure in measure()}
    (planted,) = (each.value for what, each in figures.items() if "without jitter" in what)
    assert planted == HOSTS, "the simulation shows a herd where there is one"
    assert [each.what for each in figures.values() if each.verdict == "missed"] == []
