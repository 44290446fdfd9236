"""What the long-lived processes remember of a secret that passed by: nothing, in any form."""

from __future__ import annotations

import os

import pytest

from tests.bench import memory_scan
from tests.bench.traces import Marker


@pytest.mark.skipif(
    os.geteuid() != 0, reason="another process's memory is read as root: run the tests as root"
)
def test_a_planted_copy_is_found_in_each_form() -> None:
    assert memory_scan.blind_spots(Marker.random()) == []


@pytest.mark.system
def test_no_copy_of_a_secret_stays_behind_after_rotations(suite: str) -> None:
    copies = {figure.what: figure.value for figure in memory_scan.measure(suite)}
    assert len(copies) == 3
    assert set(copies.values()) == {0}, copies
