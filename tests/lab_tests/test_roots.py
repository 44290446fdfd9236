"""Roots are made once, and a package's root is the plain one plus the package."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab import roots
from tests.lab.host import Host

CONTROL = """Package: lab-probe
Version: 1
Architecture: all
Maintainer: Nobody <nobody@example.invalid>
Description: a unit that starts at boot
"""
UNIT = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for path, text in (
        ("DEBIAN/control", CONTROL),
        ("DEBIAN/postinst", "#!/bin/sh\nset -e\nsystemctl enable probe.service\n"),
        ("lib/systemd/system/probe.service", UNIT),
    ):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "DEBIAN/postinst").chmod(0o755)
    deb = tmp_path / "lab-probe.deb"
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(deb)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return deb


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def interrupted(place: Path) -> None:
        (place / "etc").mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        roots._cached("a-root", interrupted)
    assert [path.name for path in (tmp_path / "secretsd-lab").iterdir()] == ["a.lock"]


def test_a_root_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[Path] = []

    def build(place: Path) -> None:
        built.append(place)
        place.mkdir()

    assert roots._cached("a-root", build) == roots._cached("a-root", build)
    assert len(built) == 1


def test_two_builds_at_once_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[Path] = []

    def build(place: Path) -> None:
        built.append(place)
        time.sleep(0.2)
        place.mkdir()

    with ThreadPoolExecutor() as threads:
        places = list(threads.map(lambda _: roots._cached("a-root", build), range(4)))
    assert len(built) == 1
    assert len(set(places)) == 1


def test_a_tool_that_outlives_its_build_keeps_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "a-root.lock"
    with roots._locked(lock):
        roots._check(["sh", "-c", "sleep 0.5 >/dev/null 2>&1 &"], "nothing")
    started = time.monotonic()
    with roots._locked(lock):
        waited_s = time.monotonic() - started
    assert waited_s > 0.2


def test_roots_that_nobody_uses_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "secretsd-lab"
    for name, unused_h in (("suite-1", 2), ("suite-1-old", 2), ("suite-1-new", 0), ("suite-0", 24 * 31)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - unused_h * 3600,) * 2)

    roots._cached("suite-1-now", lambda place: place.mkdir())

    left = {path.name for path in cache.iterdir()}
    assert left == {"suite-1", "suite-1-new", "suite-1-now", "suite.lock"}


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(ValueError, match="bookworm"):
        roots.root("sid")


def test_the_mirror_is_one_that_apt_can_use() -> None:
    assert roots.mirror().startswith("http")


@pytest.mark.system
def test_a_machine_with_a_package_starts_its_units_at_boot(suite: str, package: Path) -> None:
    with Host(suite, deb=package) as host:
        host.wait_active("probe.service")
        assert "ii  lab-probe" in host.sh("dpkg -l lab-probe")
    with Host(suite) as host:
        assert host.run(["dpkg", "-s", "lab-probe"], check=False).returncode == 1


@pytest.mark.system
def test_a_package_can_be_installed_on_a_running_machine(host: Host, package: Path) -> None:
    host.install(package)
    assert host.systemctl("is-enabled", "probe.service").stdout == "enabled\n"
