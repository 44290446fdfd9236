"""Machines with the package installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.aws import FakeAws
from tests.lab.lab import Lab
from tests.system.machine import Machine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `packaging/build-deb` makes it from this tree."""
    built = subprocess.run([ROOT / "packaging" / "build-deb"], check=True, stdout=subprocess.PIPE, text=True)
    # A copy: all tests of a run are about one package, whatever is built meanwhile.
    return Path(shutil.copy(built.stdout.splitlines()[-1], tmp_path_factory.mktemp("deb")))


@pytest.fixture(scope="session")
def newer_deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same under a higher version, for upgrades."""
    command = [
        ROOT / "packaging" / "build-deb",
        "--version",
        "0.1.1",
        "--output",
        tmp_path_factory.mktemp("deb"),
    ]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.splitlines()[-1])


@pytest.fixture
def machine(suite: str, aws: FakeAws, deb: Path) -> Iterator[Machine]:
    """A booted machine with the package, the daemon configured for the lab's AWS, no bundles yet."""
    with Lab(suite, aws, deb=deb) as lab:
        machine = Machine(lab)
        machine.configure()
        yield machine
