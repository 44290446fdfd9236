"""Every fault crossed with every kind of source, through a real daemon: see outage_table.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kinds import CANARY
from tests.faults.outage_table import CONFIRMED, EXIT_CODES, ROWS, Column, Row, Says
from tests.faults.world import World, running
from tests.lab.aws import FakeAws
from tests.lab.faults import Drip
from tests.lab.openbao import OpenBao

_FETCH_S = 10.0
_COMMAND_S = 1.0  # starting secretsctl, on a machine with other work
_WORKER_KIB = 300 * 1024


@pytest.fixture
def world(
    tmp_path: Path, aws: FakeAws, replica: FakeAws, stale: FakeAws, openbao: OpenBao
) -> Iterator[World]:
    with running(tmp_path, aws, replica, stale, openbao) as world:
        yield world


@pytest.fixture(scope="session")
def replica_of_the_run() -> Iterator[FakeAws]:
    with FakeAws.local() as replica:
        yield replica


@pytest.fixture(scope="session")
def stale_of_the_run() -> Iterator[FakeAws]:
    with FakeAws.local() as stale:
        yield stale


@pytest.fixture
def replica(replica_of_the_run: FakeAws) -> FakeAws:
    """A region that follows."""
    replica_of_the_run.reset()
    return replica_of_the_run


@pytest.fixture
def stale(stale_of_the_run: FakeAws) -> FakeAws:
    """A region that does not."""
    stale_of_the_run.reset()
    return stale_of_the_run


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_a_fault_is_named_publishes_nothing_bad_removes_nothing_and_passes(world: World, row: Row) -> None:
    columns = [column for column in world.kinds if column in row.faults]
    assert world.daemon.secretsctl("reload").code == 0
    assert {world.shows(column) for column in columns} == {1}
    world.rotate(2)
    world.break_(row)
    with world.daemon.largest_worker_kib() as largest_kib:
        said = world.daemon.secretsctl("reload")
    outputs = said.text
    for column in columns:
        outputs += _holds(world, column, row.other.get(column, row.says))
    assert said.code == _exit_code(row, columns)
    assert said.spent_s < _FETCH_S + _COMMAND_S
    assert 0 < largest_kib[0] <= _WORKER_KIB
    world.mend()
    said = world.daemon.secretsctl("reload")
    assert said.code == 0, f"it passes when the fault does\n{said.text}"
    assert {world.shows(column) for column in columns} == {2}
    assert CANARY not in outputs + said.text + world.daemon.log.read_text()


def _holds(world: World, column: Column, expected: Says | None) -> str:
    """Checks what became of a column's bundle; returns what an operator is shown."""
    status = world.daemon.status(column.value)
    found = {(each["failure_class"], each["code"]) for each in status["failures"]}
    assert found == (set() if expected is CONFIRMED else {(expected.failure_class, expected.code)}), column
    assert world.shows(column) == (2 if expected is CONFIRMED else 1), column
    if expected is not CONFIRMED:
        assert all(each["advice"] for each in status["failures"])
        assert all(expected.words in each["message"] for each in status["failures"])
    return str(status) + world.daemon.secretsctl("status", column.value).text


def _exit_code(row: Row, columns: list[Column]) -> int:
    classes = [said.failure_class for column in columns if (said := row.other.get(column, row.says))]
    return max((EXIT_CODES[each] for each in classes), default=0)


def test_a_region_that_drips_until_its_worker_is_killed_is_left_for_the_other_one(world: World) -> None:
    world.rotate(2)
    with world.kinds[Column.FAILOVER].proxy.broken(Drip()):
        assert world.daemon.secretsctl("reload", "failover").code == 69
        # Whoever asks by hand is answered by the home region first; by itself it is tried again within 5 s.
        until = time.monotonic() + 15
        while world.shows(Column.FAILOVER) != 2:
            assert time.monotonic() < until
            time.sleep(0.2)
