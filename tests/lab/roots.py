"""Debian roots for lab machines, made by mmdebstrap once and kept in the user's cache.

A root is a plain directory that nobody writes to: machines lay an overlay over it. Its name carries a hash
of its recipe, so a changed recipe is a new root. It is built beside its place and renamed into it: an
interrupted build leaves nothing that looks like a root.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SUITES = ("bookworm", "trixie")

_DEFAULT_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = (
    "adduser",
    "bash",
    "ca-certificates",
    "curl",
    "dash",
    "dbus",
    "iproute2",
    "libcap2-bin",
    "procps",
    "python3",
    "softhsm2",
    "strace",
    "systemd",
    "systemd-sysv",
    "util-linux",
)
# What an installed machine has and a bare root lacks: a name and an identity (without the latter systemd
# takes each boot for the first one). What a test machine must not have: timers that wake up by themselves.
_CUSTOMIZE = """
echo lab >"$1/etc/hostname"
printf '127.0.0.1 localhost lab\\n::1 localhost\\n' >"$1/etc/hosts"
echo 5ec7e75d1ab05ec7e75d1ab05ec7e75d >"$1/etc/machine-id"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"
"""
_DPKG_IN_ROOT = """
set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
exec chroot "$1" dpkg -i "/root/$2"
"""
# Longer than any test keeps a machine; each build of the package is a new root of 260 MB.
_PACKAGED_UNUSED_AFTER_S = 3600.0
_UNUSED_AFTER_S = 30 * 86400.0


class RootBuildError(RuntimeError):
    """A root could not be made; the text holds the end of the tool's output."""


def root(suite: str) -> Path:
    """The root of a Debian suite; builds it the first time (about 20 s and 260 MB). Raises RootBuildError."""
    if suite not in SUITES:
        raise ValueError(f"no recipe for {suite!r}, only for {', '.join(SUITES)}")
    recipe = [suite, *_PACKAGES, _CUSTOMIZE]
    return _cached(f"{suite}-{_hash(recipe)}", lambda place: _debootstrap(suite, place))


def root_with(suite: str, deb: Path) -> Path:
    """The same with a package installed and its units enabled, not yet started. Raises RootBuildError."""
    base = root(suite)
    name = f"{base.name}-{_hash([hashlib.sha256(deb.read_bytes()).hexdigest()])}"
    return _cached(name, lambda place: _install(base, deb, place))


def mirror() -> str:
    """The Debian archive that this machine itself installs from."""
    columns = "$(REPO_URI) $(ORIGIN) $(LABEL)"
    listed = _output(["apt-get", "indextargets", "--format", columns, "Identifier: Packages"])
    for line in listed.splitlines():
        fields = line.split()
        if fields[1:] == ["Debian", "Debian"] and fields[0].startswith("http"):
            return fields[0].rstrip("/")
    return _DEFAULT_MIRROR


def _cached(name: str, build: Callable[[Path], None]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secretsd-lab"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / name
    if not place.exists():
        # One lock for all roots of a suite: few files that stay for good, as a lock file must.
        with _locked(cache / f"{name.partition('-')[0]}.lock"):
            # Another test process may have built it while this one waited for the lock.
            if not place.exists():
                _build_beside(place, build)
                _remove_unused(cache)
    os.utime(place)
    return place


def _build_beside(place: Path, build: Callable[[Path], None]) -> None:
    unfinished = place.with_name(f"{place.name}.unfinished")
    _remove(unfinished)
    try:
        build(unfinished)
        unfinished.rename(place)
    finally:
        _remove(unfinished)


def _debootstrap(suite: str, place: Path) -> None:
    options = [f"--aptopt={line}" for line in _network_options()]
    recipe = ["--mode=root", "--variant=minbase", f"--include={','.join(_PACKAGES)}"]
    hook = f"--customize-hook={_CUSTOMIZE}"
    command = ["mmdebstrap", *recipe, *options, hook, suite, str(place), mirror()]
    try:
        _check(command, f"a root of {suite}")
    except RootBuildError as error:
        if "NO_PUBKEY" in str(error):
            advice = "this machine's debian-archive-keyring does not know the release: upgrade that package"
            raise RootBuildError(f"{advice}\n{error}") from None
        raise


def _install(base: Path, deb: Path, place: Path) -> None:
    _check(["cp", "-a", "--reflink=auto", str(base), str(place)], "a copy of the root")
    shutil.copyfile(deb, place / "root" / deb.name)
    # Its own mounts and processes, which end with it.
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _DPKG_IN_ROOT, "sh"]
    _check([*inside, str(place), deb.name], f"a root with {deb.name}")


def _network_options() -> Iterator[str]:
    # The machine's own way to the archive: proxies and certificates of its apt configuration.
    for line in _output(["apt-config", "dump"]).splitlines():
        name = line.split(" ", 1)[0].lower()
        if name.startswith(("acquire::http::", "acquire::https::")) and not line.endswith('"";'):
            yield line


def _check(command: list[str], what: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    # Not close_fds: the tool inherits the lock, so that the next build waits for one that outlives us.
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        close_fds=False,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise RootBuildError(f"{what} could not be made: {shlex.join(command)} failed\n{tail}")


def _output(command: list[str]) -> str:
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return ""


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_unused(cache: Path) -> None:
    for place in cache.iterdir():
        # SUITE-RECIPE, or SUITE-RECIPE-PACKAGE.
        limit_s = _PACKAGED_UNUSED_AFTER_S if place.name.count("-") > 1 else _UNUSED_AFTER_S
        if place.is_dir() and place.stat().st_mtime < time.time() - limit_s:
            _remove(place)


def _remove(tree: Path) -> None:
    if tree.exists():
        # Were a mount left in it by a killed build, this machine's /dev must not go with it.
        subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=True)


def _hash(recipe: list[str]) -> str:
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
