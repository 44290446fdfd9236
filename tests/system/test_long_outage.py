"""AWS is away for days: bots go on starting, whatever happens to secretsd and to the host meanwhile."""

from __future__ import annotations

import os

import pytest

from tests.bench.outage import HOURS, survive
from tests.system.machine import Machine, on_bookworm

pytestmark = pytest.mark.system
# With SECRETSD_SOAK=1 (make soak) as long as for the figure.
_HOURS = HOURS if os.environ.get("SECRETSD_SOAK") == "1" else 18


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
