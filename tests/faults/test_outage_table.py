"""Every fault crossed with every kind of source, through a real daemon: see outage_table.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.canary.scan import shows
from tests.faults.outage_table import CONFIRMED, EXIT_CODES, ROWS, Column, Row, Says
from tests.faults.world import World, running
from tests.lab.aws import FakeAws
from tests.lab.faults import Drip
from tests.lab.openbao import OpenBao

_FETCH_S = 10.0
_COMMAND_S = 1.0  # starting secretsctl, on a machine with other work
_WORKER_KIB = 300 * 1024


@pytest.fixture(scope="module")
def the_world(tmp_path_factory: pytest.TempPathFactory, openbao: OpenBao) -> Iterator[World]:
    with ExitStack() as stack:
        home, replica, stale = (stack.enter_context(FakeAws.local()) for _ in range(3))
        yield stack.enter_context(running(tmp_path_factory.mktemp("world"), home, replica, stale, openbao))


@pytest.fixture
def world(the_world: World) -> World:
    the_world.begin_anew()
    return the_world


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_a_fault_is_named_publishes_nothing_bad_removes_nothing_and_passes(world: World, row: Row) -> None:
    columns = [column for column in world.kinds if column in row.faults]
    assert world.daemon.secretsctl("reload").code == 0
    before = world.number
    assert {world.shows(column) for column in columns} == {before}
    world.rotate()
    world.break_(row)
    with world.daemon.largest_worker_kib() as largest_kib:
        said = world.daemon.secretsctl("reload")
    outputs = said.text + world.daemon.secretsctl("status").text
    status, health = world.daemon.status(), world.health()
    for column in columns:
        expected = row.other.get(column, row.says)
        _holds(world, column, status[column.value], expected, before)
        assert health[column] is (expected is CONFIRMED), column
    assert said.code == _exit_code(row, columns)
    assert said.spent_s < _FETCH_S + _COMMAND_S
    assert 0 < largest_kib[0] <= _WORKER_KIB
    world.mend()
    said = world.daemon.secretsctl("reload")
    assert said.code == 0, f"it passes when the fault does\n{said.text}"
    assert {world.shows(column) for column in columns} == {before + 1}
    assert [column for column, is_well in world.health().items() if not is_well] == []
    assert "secretsd_bundle_failing" in world.told
    assert not shows(outputs + str(status) + said.text + world.told), "the gate looks at the rest"


def _holds(world: World, column: Column, status: dict[str, Any], expected: Says | None, before: int) -> None:
    """Checks what became of a column's bundle, which showed the rotation `before`."""
    found = {(each["failure_class"], each["code"]) for each in status["failures"]}
    assert found == set() if expected is CONFIRMED else len(found) == 1, column
    if expected is not CONFIRMED:
        codes = filter(None, (expected.code, expected.or_code))
        assert found <= {(expected.failure_class, code) for code in codes}, column
    assert world.shows(column) == (before + 1 if expected is CONFIRMED else before), column
    if expected is not CONFIRMED:
        assert all(each["advice"] for each in status["failures"])
        assert all(expected.words in each["message"] for each in status["failures"])


def _exit_code(row: Row, columns: list[Column]) -> int:
    classes = [said.failure_class for column in columns if (said := row.other.get(column, row.says))]
    return max((EXIT_CODES[each] for each in classes), default=0)


def test_a_region_that_drips_until_its_worker_is_killed_is_left_for_the_other_one(world: World) -> None:
    world.rotate()
    with world.kinds[Column.FAILOVER].proxy.broken(Drip()):
        assert world.daemon.secretsctl("reload", "failover").code == 69
        # Whoever asks by hand is answered by the home region first; by itself it is tried again within 5 s.
        until = time.monotonic() + 15
        while world.shows(Column.FAILOVER) != world.number:
            assert time.monotonic() < until
            time.sleep(0.2)
