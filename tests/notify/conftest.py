from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notify.fake_systemd import FakeSystemd
from tests.notify.running import CONFIG, RunningHelper, SpawnProgram


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    fake = FakeSystemd.at(tmp_path)
    yield fake
    fake.end()


@pytest.fixture
def helper(systemd: FakeSystemd) -> Iterator[RunningHelper]:
    directory = Path(tempfile.mkdtemp(prefix="secretsd-notify-"))
    directory.chmod(0o711)
    (directory / "etc").mkdir(mode=0o755)
    (directory / "etc" / "secretsd.toml").write_text(CONFIG)
    (directory / "etc" / "secretsd.toml").chmod(0o644)
    running = RunningHelper(directory, systemd)
    try:
        yield running
    finally:
        if running.process is not None:
            running.stop()
        shutil.rmtree(directory)


@pytest.fixture
def program() -> Iterator[SpawnProgram]:
    """Starts Python programs that write a line once they are ready, and returns them then."""
    started: list[subprocess.Popen[str]] = []

    def spawn(source: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-ISc", source], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    yield spawn
    for process in started:
        process.kill()
        process.communicate()
