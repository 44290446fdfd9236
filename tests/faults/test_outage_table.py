"""Every fault crossed with every kind of source, through a real daemon: see outage_table.py."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.kinds import CANARY, PARTS, Kind, ParameterStore, SecretsManager, bundle, value
from tests.faults.outage_table import CONFIRMED, EXIT_CODES, ROWS, Column, Nameless, Row, Says
from tests.lab.aws import FAKE_CREDENTIALS, FakeAws
from tests.lab.faults import Drip
from tests.lab.foreground import ForegroundDaemon
from tests.lab.proxy import FaultProxy
from tests.lab.tls import Authority

_NOWHERE = "https://secrets.nowhere.invalid"
_FETCH_S = 10.0
_COMMAND_S = 1.0  # starting secretsctl, on a machine with other work
_WORKER_KIB = 300 * 1024


class World:
    """The daemon, and all kinds of sources by column."""

    def __init__(self, folder: Path, kinds: dict[Column, Kind], authority: Authority) -> None:
        self.kinds = kinds
        environment = {
            **FAKE_CREDENTIALS,
            "AWS_CA_BUNDLE": str(authority.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
            # Where a machine has no name server, a name that does not resolve takes no longer than here.
            "RES_OPTIONS": "timeout:1 attempts:1",
        }
        self.daemon = ForegroundDaemon(folder, self._configuration(frozenset()), environment)

    def _configuration(self, nameless: frozenset[Column]) -> str:
        text = ""
        for column, kind in self.kinds.items():
            text += kind.source(_NOWHERE if column in nameless else kind.proxy.url) + bundle(kind)
        return text

    def break_(self, row: Row) -> None:
        """The fault befalls every kind of source at once."""
        nameless = frozenset(column for column, fault in row.faults.items() if isinstance(fault, Nameless))
        self.daemon.configure(self._configuration(nameless))
        for column, kind in self.kinds.items():
            fault = row.faults.get(column)
            if fault is not None and not isinstance(fault, Nameless):
                kind.proxy.set(fault)

    def mend(self) -> None:
        for kind in self.kinds.values():
            kind.proxy.clear()
        self.daemon.configure(self._configuration(frozenset()))

    def rotate(self, number: int) -> None:
        # moto dates versions in whole seconds, and newer is what has a later date.
        time.sleep(math.ceil(time.time()) - time.time())
        for kind in self.kinds.values():
            kind.rotate(number)

    def shows(self, column: Column) -> int:
        """The number of the rotation that is published. Raises: AssertionError where it is none, or torn."""
        kind, text = self.kinds[column], self.daemon.published(column.value)
        for number in range(4):
            if text == "".join(f"{part.upper()}='{value(kind, number)}'\n" for part in PARTS):
                return number
        raise AssertionError(f"{column.value}: what is published is no good bundle")


@pytest.fixture
def world(tmp_path: Path, aws: FakeAws, replica: FakeAws, stale: FakeAws) -> Iterator[World]:
    authority = Authority(tmp_path)
    with ExitStack() as stack:

        def behind_proxy(service: FakeAws) -> FaultProxy:
            return stack.enter_context(FaultProxy.local(service.address, authority=authority))

        kinds: dict[Column, Kind] = {
            Column.AWS: SecretsManager("aws", aws, behind_proxy(aws)),
            Column.FAILOVER: SecretsManager(
                "failover", aws, behind_proxy(aws), replica, behind_proxy(replica).url
            ),
            Column.STALE: SecretsManager(
                "stale", aws, behind_proxy(aws), stale, behind_proxy(stale).url, is_followed=False
            ),
            Column.SSM: ParameterStore("parameters", aws, behind_proxy(aws)),
        }
        world = World(tmp_path, kinds, authority)
        world.rotate(0)
        world.rotate(1)
        stack.enter_context(world.daemon)
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
        assert world.shows(Column.FAILOVER) == 1
        # By itself it would be tried again within 5 s.
        assert world.daemon.secretsctl("reload", "failover").code == 0
    assert world.shows(Column.FAILOVER) == 2
