"""With CI=true a skip is a failure unless it is listed with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import is_allowed, parse

REPOSITORY = Path(__file__).parents[2]
SKIPPING = """
import pytest

@pytest.mark.skip(reason="no such device")
def test_needs_a_device():
    pass

@pytest.mark.xfail(reason="known")
def test_known_failure():
    assert False

def test_that_runs():
    pass
"""
SKIPPED_MODULE = 'import pytest\npytest.skip("no such library", allow_module_level=True)\n'


def pytest_in(folder: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.skips",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            folder,
            folder,
        ],
        env={**environment, "PYTHONPATH": str(REPOSITORY), **({"CI": "true"} if ci else {})},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "test_device.py").write_text(SKIPPING)
    return tmp_path


def test_without_ci_a_skip_is_a_skip(project: Path) -> None:
    assert pytest_in(project, ci=False).returncode == 0


def test_with_ci_a_skip_fails_and_says_why(project: Path) -> None:
    done = pytest_in(project, ci=True)

    assert done.returncode == 1
    assert "test_needs_a_device" in done.stdout
    assert "no such device" in done.stdout
    assert "allowed-skips.txt" in done.stdout
    assert "1 passed, 1 xfailed, 1 error" in done.stdout


def test_with_ci_a_listed_skip_is_a_skip(project: Path) -> None:
    (project / "tests/allowed-skips.txt").write_text("test_device.py::test_needs_* | CI has no device\n")

    done = pytest_in(project, ci=True)

    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in done.stdout


def test_with_ci_a_skipped_module_fails(project: Path) -> None:
    (project / "test_module.py").write_text(SKIPPED_MODULE)
    (project / "test_device.py").unlink()

    done = pytest_in(project, ci=True)

    assert done.returncode != 0
    assert "no such library" in done.stdout


def test_a_line_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse("# a comment\ntests/test_x.py::test_y\n")


def test_a_parametrized_test_is_matched_literally() -> None:
    assert is_allowed("tests/test_x.py::test_y[bookworm]", parse("tests/test_x.py::test_y[bookworm] | why"))
    assert not is_allowed("tests/test_x.py::test_y[trixie]", parse("tests/test_x.py::test_y[bookworm] | why"))


def test_the_list_of_this_project_can_be_read() -> None:
    parse((REPOSITORY / "tests/allowed-skips.txt").read_text())
