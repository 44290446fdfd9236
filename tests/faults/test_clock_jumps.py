"""The wall clock jumps by 30 days under a running daemon, there and back: it refreshes on as if nothing were.

libfaketime gives the daemon, its workers and secretsctl a wall clock that the test sets; CLOCK_MONOTONIC and
what files say of themselves stay real, as they do on a host whose clock is set.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.aws import FakeAws
from tests.lab.faults import ClockChecked
from tests.lab.foreground import ForegroundDaemon
from tests.lab.proxy import FaultProxy

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_LOOK_S = 5.0
_CONFIGURATION = """
refresh_jitter = "0s"
alert_command = ["{alert}"]
alert_after = "0s"

[sources.aws]
type = "aws-secretsmanager"
region = "us-east-1"
endpoint_url = "{url}"

[bundles.bot]
refresh_interval = "1s"
max_age = "1h"

[[bundles.bot.secrets]]
source = "aws"
id = "bot"

[bundles.bot.variables]
KEY = {{}}

[[bundles.bot.outputs]]
path = "env"
format = "env"
"""

pytestmark = pytest.mark.skipif(not _LIBRARIES, reason="needs libfaketime: apt-get install faketime")
_JUMPS = pytest.mark.parametrize(("jump", "side"), [("+30d", "ahead of"), ("-30d", "behind")])


class Clock:
    """The wall clock of everything that belongs to the daemon."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": str(_LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set("+0")

    def set(self, offset: str) -> None:
        """By a rename, so that nobody reads half of it."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def daemon(tmp_path: Path, aws: FakeAws, proxy: FaultProxy, clock: Clock) -> Iterator[ForegroundDaemon]:
    """One that refreshes each second from an AWS that looks at the clock."""
    aws.create("bot", {"KEY": "fake-key-1"})
    proxy.set(ClockChecked())
    alert = tmp_path / "alert"
    alert.write_text(f"#!{shutil.which('sh')}\nexec cat >>{tmp_path}/alerts\n")
    alert.chmod(0o755)
    configuration = _CONFIGURATION.format(url=proxy.url, alert=alert)
    environment = {**aws.environment, **clock.environment}
    with ForegroundDaemon(tmp_path, configuration, environment) as daemon:
        _eventually(lambda: daemon.status()["bot"]["state"] == "loaded")
        yield daemon


@_JUMPS
def test_the_clock_jumps_there_and_back_under_a_running_daemon(
    daemon: ForegroundDaemon, proxy: FaultProxy, clock: Clock, aws: FakeAws, jump: str, side: str
) -> None:
    before = _shown(daemon)
    calls = _calls_in(proxy, _LOOK_S)
    assert calls >= 3
    clock.set(jump)
    _eventually(lambda: daemon.status()["bot"]["failures"])
    (failure,) = daemon.status()["bot"]["failures"]
    assert (failure["failure_class"], failure["code"]) == ("transient", "clock-skew")
    assert f"{side} AWS's" in failure["message"]
    assert _calls_in(proxy, _LOOK_S) >= 2, "it goes on asking"
    assert _shown(daemon) == before, "nothing is published or taken away for the clock alone"
    _is_sane(daemon)
    assert daemon.secretsctl("wait", "bot").code == 0, "max_age does not count by this clock"

    clock.set("+0")
    _eventually(lambda: not daemon.status()["bot"]["failures"])
    assert _calls_in(proxy, _LOOK_S) >= calls - 2
    assert _shown(daemon) == before
    aws.put("bot", {"KEY": "fake-key-2"})
    _eventually(lambda: daemon.published("bot") == "KEY='fake-key-2'\n")
    _is_sane(daemon)
    assert len(_alerts(daemon)) <= 2, "one for the trouble, one for its end"


@_JUMPS
def test_what_an_operator_says_while_the_clock_is_wrong_stands_afterwards(
    daemon: ForegroundDaemon, proxy: FaultProxy, clock: Clock, aws: FakeAws, jump: str, side: str
) -> None:
    del side
    proxy.clear()  # an AWS whose clock has jumped, too
    clock.set(jump)
    time.sleep(1.1)  # moto dates versions in whole seconds
    aws.put("bot", {"KEY": "fake-key-2"})
    _eventually(lambda: daemon.published("bot") == "KEY='fake-key-2'\n")
    assert daemon.secretsctl("rollback", "bot", "--reason", "a test").code == 0
    assert daemon.published("bot") == "KEY='fake-key-1'\n"
    _is_sane(daemon)

    clock.set("+0")
    assert daemon.secretsctl("reload").code == 0
    assert daemon.published("bot") == "KEY='fake-key-1'\n", "the rollback holds"
    _is_sane(daemon)
    daemon.stop()
    daemon.start()
    assert daemon.secretsctl("reload").code == 0
    assert daemon.published("bot") == "KEY='fake-key-1'\n", "over a restart, too"
    assert daemon.secretsctl("resume", "bot").code == 0
    _eventually(lambda: daemon.published("bot") == "KEY='fake-key-2'\n")
    time.sleep(1.1)
    aws.put("bot", {"KEY": "fake-key-3"})
    _eventually(lambda: daemon.published("bot") == "KEY='fake-key-3'\n")


@_JUMPS
def test_a_restart_while_the_clock_is_wrong_keeps_what_is_published(
    daemon: ForegroundDaemon, clock: Clock, jump: str, side: str
) -> None:
    del side
    before = _shown(daemon)
    clock.set(jump)
    daemon.stop()
    daemon.start()
    _eventually(lambda: daemon.status()["bot"]["failures"])
    assert _shown(daemon) == before
    assert daemon.secretsctl("wait", "bot").code == 0
    _is_sane(daemon)
    clock.set("+0")
    _eventually(lambda: not daemon.status()["bot"]["failures"])
    assert _shown(daemon) == before


def _shown(daemon: ForegroundDaemon) -> tuple[int, int, str | None]:
    status = (daemon.run_dir / "bot" / "env").stat()
    return status.st_ino, status.st_ctime_ns, daemon.published("bot")


def _calls_in(proxy: FaultProxy, seconds: float) -> int:
    """How many requests come in this time."""
    proxy.forget_calls()
    time.sleep(seconds)
    return len(proxy.calls)


def _is_sane(daemon: ForegroundDaemon) -> None:
    """No screen fails, whatever dates it has to show, and nothing that is counted in seconds is negative."""
    for command in ("status", "status bot", "history bot", "plan", "diff bot", "doctor"):
        said = daemon.secretsctl(*command.split())
        assert said.code in (0, 69, 75), said.text
        assert "Traceback" not in said.text
    assert min(_numbers(daemon.status()["bot"])) >= 0
    assert "Traceback" not in daemon.log.read_text()


def _numbers(document: object) -> Iterator[float]:
    match document:
        case dict():
            for value in document.values():
                yield from _numbers(value)
        case list():
            for value in document:
                yield from _numbers(value)
        case int() | float():
            yield float(document)


def _alerts(daemon: ForegroundDaemon) -> list[dict[str, object]]:
    file = daemon.log.with_name("alerts")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _eventually(condition: Callable[[], object], timeout_s: float = 12.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
