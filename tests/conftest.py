"""Fixtures for all tests: a fake AWS, a fake metadata service, a fault proxy, and lab machines."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Generator, Iterator

import pytest

from tests.lab import needs, roots
from tests.lab.aws import FakeAws
from tests.lab.host import Host
from tests.lab.imds import FakeImds
from tests.lab.lab import Lab
from tests.lab.openbao import OpenBao
from tests.lab.proxy import FaultProxy

pytest_plugins = ["tests.parallel", "tests.skips", "tests.canary.plugin"]
_JOURNAL_CHARACTERS = 20_000
# Under nohup, or behind a shell's `&`, they are ignored, and every process of a test would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("system") is not None and (reason := needs.missing()) is not None:
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test of a machine shows what the machine's journal says."""
    report = yield
    if report.when == "call" and report.failed:
        for value in getattr(item, "funcargs", {}).values():
            machine = value.host if isinstance(value, Lab) else value
            if isinstance(machine, Host):
                with contextlib.suppress(OSError, RuntimeError, AssertionError, subprocess.SubprocessError):
                    report.sections.append(("journal", machine.journal()[-_JOURNAL_CHARACTERS:]))
    return report


@pytest.fixture(scope="session")
def aws_of_the_run() -> Iterator[FakeAws]:
    """The one moto process of this test run; tests use `aws`."""
    with FakeAws.local() as aws:
        yield aws


@pytest.fixture
def aws(aws_of_the_run: FakeAws) -> FakeAws:
    """An empty AWS account on this machine's loopback."""
    aws_of_the_run.reset()
    return aws_of_the_run


@pytest.fixture
def proxy(aws: FakeAws) -> Iterator[FaultProxy]:
    """A fault proxy in front of `aws`, on this machine's loopback."""
    with FaultProxy.local(aws.address) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """The one OpenBao server of this test run, unsealed; secrets that tests leave there stay."""
    with OpenBao(tmp_path_factory.mktemp("openbao") / "bao") as server:
        server.initialise()
        yield server


@pytest.fixture
def imds() -> Iterator[FakeImds]:
    """A metadata service on this machine's loopback."""
    with FakeImds.local() as imds:
        yield imds


@pytest.fixture(params=roots.SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """Each Debian release that secretsd supports, in turn."""
    return str(request.param)


@pytest.fixture
def host(suite: str) -> Iterator[Host]:
    """A booted machine with nothing of ours on it."""
    with Host(suite) as host:
        yield host


@pytest.fixture
def lab(suite: str, aws: FakeAws) -> Iterator[Lab]:
    """The same with AWS, the fault proxy and IMDS in its network."""
    with Lab(suite, aws) as lab:
        yield lab
