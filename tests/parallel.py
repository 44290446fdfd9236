"""How pytest-xdist divides the tests between processes: `pytest -n 3`.

A pytest plugin; tests/conftest.py loads it. Tests with machines mostly wait, for a boot or for a deadline,
and two machines at once would wait for each other: they are one unit, which one process begins with.
Everything else is divided by module, so that what a module has set up is set up once.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_MACHINES = ("tests/system/", "tests/lab_tests/")


def unit(node_id: str) -> str:
    """What a test is not to be divided from."""
    return "machines" if node_id.startswith(_MACHINES) else node_id.partition("::")[0]


# The longest unit is begun first, or one process waits for it at the end.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: unit(item.nodeid) != "machines")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByUnit(config, log)


class _ByUnit(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
