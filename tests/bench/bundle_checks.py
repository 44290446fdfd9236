"""What a reader of a bundle may see at any moment, and what may lie in the runtime directory after a start.

Each check returns findings, a sentence each; none is good. `planted` shows that each of them can find.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from secretsd.refresh.files import tree
from secretsd.refresh.files.generations import EARLIER_CONTENTS
from tests.bench import daemon_user
from tests.bench.daemon_user import GID, UID

BUNDLE = "bot"
OWNER_UID = OWNER_GID = 65534
_FILES = ("env", "keys/hmac")
_ROOT_NAMES = {BUNDLE, tree.GENERATIONS, tree.COPIES, tree.DIGEST_KEY, tree.LOCK}

Contents = Mapping[str, bytes]


def contents(generation: int) -> dict[str, bytes]:
    """The files of a generation: each line tells which one it is from, none is a secret."""
    line = f"FAKE_KEY=generation-{generation}\n".encode()
    return {"env": line * 40, "keys/hmac": line * 200}


@contextmanager
def opened(runtime_dir: Path) -> Iterator[int | None]:
    """The bundle's directory as a reader opens it, once; None where no bundle is shown."""
    try:
        directory = os.open(runtime_dir / BUNDLE, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield None
        return
    try:
        yield directory
    finally:
        os.close(directory)


def read(directory: int) -> dict[str, bytes]:
    """All files of the bundle through one descriptor; a missing one is not in it."""
    found = {}
    for path in _FILES:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
        except FileNotFoundError:
            continue
        with os.fdopen(descriptor, "rb") as file:
            found[path] = file.read()
    return found


def generation_of(directory: int) -> int | None:
    """The generation that the directory holds whole; None for a mixture, a torn or a missing file."""
    found = read(directory)
    number = found.get("env", b"").partition(b"\n")[0].rpartition(b"-")[2]
    if number.isdigit() and found == contents(int(number)):
        return int(number)
    return None


def owner_findings(runtime_dir: Path) -> list[str]:
    """Whether the owner reaches its files by their paths, with its own rights alone."""

    def read_all() -> int:
        try:
            with opened(runtime_dir) as directory:
                return 0 if directory is not None and generation_of(directory) is not None else 1
        except PermissionError:
            return 1

    def become_owner() -> None:
        daemon_user.become_plain(OWNER_UID, OWNER_GID)

    return ["the owner cannot read its files"] if daemon_user.run(read_all, become=become_owner) else []


def reader_findings(directory: int, allowed: set[int]) -> list[str]:
    """Whether a reader that holds the directory sees one of the `allowed` generations, whole and as owned."""
    generation = generation_of(directory)
    findings = []
    if generation is None:
        findings.append("a reader sees a mixture, a torn or a missing file")
    elif generation not in allowed:
        findings.append(f"a reader sees generation {generation}, not one of {sorted(allowed)}")
    for path in _FILES:
        try:
            status = os.stat(path, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_IMODE(status.st_mode) != 0o600 or not stat.S_ISREG(status.st_mode):
            findings.append(f"{path} has the mode {status.st_mode:o}")
        if (status.st_uid, status.st_gid) != (OWNER_UID, OWNER_GID):
            findings.append(f"{path} belongs to {status.st_uid}:{status.st_gid}")
    return [*findings, *_directory_findings(directory)]


def _directory_findings(directory: int) -> list[str]:
    findings = []
    for path in (".", "keys"):
        try:
            status = os.stat(path, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        seen = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        if seen != (0o750, UID, OWNER_GID):
            findings.append(f"the directory {path} has mode {seen[0]:o} and belongs to {seen[1]}:{seen[2]}")
    return findings


def leftover_findings(runtime_dir: Path) -> list[str]:
    """After a start: what is shown and three earlier contents at most, with their copies; nothing else."""
    findings = [f"left over: {name}" for name in sorted(set(os.listdir(runtime_dir)) - _ROOT_NAMES)]
    for kind in (tree.GENERATIONS, tree.COPIES):
        for bundle in (runtime_dir / kind).iterdir():
            names = set(os.listdir(bundle))
            expected = _kept(runtime_dir, names) if bundle.name == BUNDLE else set()
            findings += [f"left over: {kind}/{bundle.name}/{name}" for name in sorted(names - expected)]
    shown, copies = (_listed(runtime_dir / kind / BUNDLE) for kind in (tree.GENERATIONS, tree.COPIES))
    findings += [f"nothing to go back to: {name}" for name in sorted(shown ^ copies)]
    for parent, directories, files in os.walk(runtime_dir):
        for name in (*directories, *files):
            if name.startswith(tree.TEMPORARY_PREFIX):
                findings.append(f"left over: {Path(parent, name).relative_to(runtime_dir)}")
    return findings


def _listed(directory: Path) -> set[str]:
    return set(os.listdir(directory)) if directory.is_dir() else set()


def _kept(runtime_dir: Path, names: set[str]) -> set[str]:
    try:
        current = int(os.readlink(runtime_dir / BUNDLE).rpartition("/")[2])
    except FileNotFoundError:
        return set()
    older = [int(name) for name in names if name.isdecimal() and int(name) < current]
    return {str(current), *(str(number) for number in sorted(older)[-EARLIER_CONTENTS:])}


# --- the checks themselves are checked -------------------------------------------------------------------


def blind_spots(make_bundle: Callable[[Path, int], None], place: Path) -> list[str]:
    """Plants one instance of everything the checks look for; returns what they did not find.

    `make_bundle(place, n)` makes a runtime directory in which generations 1 to n were published.
    """
    blind = []
    for what, plant in _PLANTS.items():
        shutil.rmtree(place, ignore_errors=True)
        make_bundle(place, 2)
        with opened(place) as directory:
            assert directory is not None
            clean = _all_findings(place, directory)
            plant(place)
            found = _all_findings(place, directory)
        if clean or not found:
            blind.append(f"{what}: {'found before it was planted' if clean else 'planted and not found'}")
    return blind


def _all_findings(place: Path, directory: int) -> list[str]:
    return [*reader_findings(directory, {2}), *owner_findings(place), *leftover_findings(place)]


def _shown(place: Path) -> Path:
    return (place / BUNDLE).resolve()


def _mixture(place: Path) -> None:
    (_shown(place) / "keys/hmac").write_bytes(contents(1)["keys/hmac"])


def _torn(place: Path) -> None:
    os.truncate(_shown(place) / "keys/hmac", len(contents(2)["keys/hmac"]) - 1)


def _missing(place: Path) -> None:
    (_shown(place) / "env").unlink()


def _wrong_generation(place: Path) -> None:
    for path, content in contents(1).items():
        (_shown(place) / path).write_bytes(content)


def _wrong_mode(place: Path) -> None:
    (_shown(place) / "env").chmod(0o640)


def _wrong_owner(place: Path) -> None:
    os.chown(_shown(place) / "env", UID, GID)


def _open_directory(place: Path) -> None:
    _shown(place).chmod(0o755)


def _closed_parent(place: Path) -> None:
    (place / tree.GENERATIONS / BUNDLE).chmod(0o700)


def _leftover_link(place: Path) -> None:
    (place / f"{tree.TEMPORARY_PREFIX}0123").symlink_to("nowhere")


def _leftover_directory(place: Path) -> None:
    (place / tree.COPIES / BUNDLE / f"{tree.TEMPORARY_PREFIX}0123").mkdir()


def _lost_copy(place: Path) -> None:
    shutil.rmtree(place / tree.COPIES / BUNDLE / "1")


def _leftover_generation(place: Path) -> None:
    (place / tree.GENERATIONS / BUNDLE / "3").mkdir()


_PLANTS: Mapping[str, Callable[[Path], None]] = {
    "a mixture": _mixture,
    "a torn file": _torn,
    "a missing file": _missing,
    "a generation that nobody published": _wrong_generation,
    "a wrong mode": _wrong_mode,
    "a wrong owner": _wrong_owner,
    "a directory that others may list": _open_directory,
    "a directory above that the owner cannot pass": _closed_parent,
    "an unfinished link": _leftover_link,
    "an unfinished copy": _leftover_directory,
    "a generation that was never shown": _leftover_generation,
    "a generation that no copy can show again": _lost_copy,
}
