"""The Debian package: what Debian's own tools say of it, and that it can be made again."""

from __future__ import annotations

import configparser
import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from secretsd.refresh.sources.aws.services import SERVICES
from secretsd.refresh.sources.aws.session import ServiceName

ROOT = Path(__file__).resolve().parents[2]


def build(output: Path) -> Path:
    if shutil.which("dpkg-buildpackage") is None or shutil.which("dh") is None:
        pytest.skip("debhelper is not installed")
    command = [ROOT / "packaging" / "build-deb", "--force", "--output", output]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.strip())


def test_lintian_finds_nothing_and_a_second_build_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", first],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listing = subprocess.run(["dpkg-deb", "-c", first], check=True, stdout=subprocess.PIPE, text=True).stdout
    for path in (
        "bash-completion/completions/secretsctl",
        "doc/secretsd/examples/all-options.toml",
        "doc/secretsd/json.md",
        "fish/vendor_completions.d/secretsctl.fish",
        "man/man1/secretsctl.1.gz",
        "man/man5/secretsd.toml.5.gz",
        "zsh/vendor-completions/_secretsctl",
    ):
        assert f" ./usr/share/{path}\n" in listing
    assert "__pycache__" not in listing


def test_locked_requirements_are_those_of_the_metadata_and_name_no_index() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    declared = {re.split(r"[><=~! ]", line)[0] for line in metadata["options"]["install_requires"].split()}
    requirements = ROOT / "packaging" / "requirements"
    locked = (requirements / "runtime.txt").read_text(encoding="utf-8")
    assert declared <= set(re.findall(r"^([a-z0-9_-]+)==", locked, re.MULTILINE))
    for file in requirements.glob("*.txt"):
        text = file.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert not re.search(r"--(extra-)?index-url|--find-links|file:|https?://", text), file.name


def test_only_the_marker_that_every_cpython_fulfils_is_taken_off_a_requirement() -> None:
    pattern = runpy.run_path(str(ROOT / "packaging" / "build-deb"))["NOT_PYPY"]
    both = "implementation_name != 'PyPy' and platform_python_implementation != 'PyPy'"
    for marker in ("platform_python_implementation != 'PyPy'", both):
        assert pattern.sub("", f"cffi==2.1.1 ; {marker} \\\n    --hash=x") == "cffi==2.1.1 \\\n    --hash=x"
    for marker in (
        "python_version < '3.13'",
        f"{both} and python_version < '3.13'",
        "sys_platform == 'win32'",
    ):
        text = f"thing==1 ; {marker} \\\n    --hash=x"
        assert pattern.sub("", text) == text


def test_the_package_brings_the_data_of_every_service_that_a_client_is_made_of() -> None:
    packed = runpy.run_path(str(ROOT / "packaging" / "build-deb"))["BOTOCORE_DATA"]
    assert set(get_args(ServiceName)) <= packed
    assert {service.client_name for service in SERVICES.values()} <= set(get_args(ServiceName))


def test_the_package_brings_every_document_that_its_manuals_and_documents_point_to() -> None:
    packed = set(runpy.run_path(str(ROOT / "packaging" / "build-deb"))["DOCUMENTS"])
    assert "metrics.md" in packed, "secretsd(8) points to it"
    texts = [*(ROOT / "packaging" / "man").glob("*.[0-9]*"), *(ROOT / "docs" / name for name in packed)]
    for text in texts:
        named = re.findall(r"\b(?:runbooks/)?[a-z-]+\.md\b", text.read_text(encoding="utf-8"))
        lacking = {name for name in named if name not in packed} - {"benchmarks.md", "outages.md"}
        assert lacking == set(), text


def test_every_file_of_the_tools_agrees_on_python() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert metadata["options"]["python_requires"] == ">=3.11"
    assert settings["tool"]["ruff"]["target-version"] == "py311"
    assert settings["tool"]["mypy"]["python_version"] == "3.11"
