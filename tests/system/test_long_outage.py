"""AWS is away for days: bots go on starting, whatever happens to secretsd and to the host meanwhile."""

from __future__ import annotations

import pytest

from tests.bench.outage import survive
from tests.system.machine import Machine, on_bookworm

pytestmark = pytest.mark.system
_HOURS = 18  # the figure is about 72


@on_bookworm
def test_every_bot_starts_with_the_last_good_key_through_restarts_a_kill_and_a_reboot(
    machine: Machine,
) -> None:
    found = survive(machine, _HOURS)
    assert found.planted == 1
    assert found.starts.tried >= _HOURS
    assert found.starts.failures == ()
    assert found.starts.with_wrong_key == 0
    assert found.back_s < 5
