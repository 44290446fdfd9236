from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.refresh.files import tree


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    with tree.opened_directory(tmp_path) as descriptor:
        yield descriptor


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_link_planted_under_the_name_is_not_followed(tmp_path: Path, directory: int) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "env").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    for name in ("env", "dangling"):
        with pytest.raises(FileExistsError):
            tree.create_file(name, b"fake-token", dir_fd=directory)
    with pytest.raises(OSError, match="symbolic links"):
        tree.read_file("env", dir_fd=directory)
    assert victim.read_bytes() == b"untouched"
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_place_of_a_directory_is_not_entered(tmp_path: Path, directory: int) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for path, dir_fd in ((tmp_path / "link", None), ("link", directory)):
        with pytest.raises(NotADirectoryError), tree.opened_directory(path, dir_fd=dir_fd):
            pass


def test_a_file_is_closed_to_others_under_any_umask(directory: int, umask: int) -> None:
    status = tree.create_file("env", b"fake-token", dir_fd=directory)
    assert stat.S_IMODE(status.st_mode) & 0o177 == 0
    assert status.st_size == len(b"fake-token")


def test_a_directory_has_its_mode_under_any_umask(tmp_path: Path, directory: int, umask: int) -> None:
    for mode in (0o711, 0o700):
        tree.make_directory("d", mode, dir_fd=directory)
        assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == mode


def test_a_link_in_place_of_a_directory_is_not_made_into_one(tmp_path: Path, directory: int) -> None:
    (tmp_path / "victim").mkdir(mode=0o755)
    (tmp_path / "d").symlink_to("victim")
    with pytest.raises(NotADirectoryError):
        tree.make_directory("d", 0o700, dir_fd=directory)
    assert stat.S_IMODE((tmp_path / "victim").stat().st_mode) == 0o755


def test_the_owner_is_final_before_the_first_byte(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: sizes.append(os.fstat(descriptor).st_size))
    tree.create_file("env", b"fake-token", dir_fd=directory, uid=os.geteuid(), gid=os.getegid())
    assert sizes == [0]


def test_writes_that_stop_short_are_gone_on_with(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    tree.create_file("env", b"fake-token-1", dir_fd=directory)
    tree.create_file("empty", b"", dir_fd=directory)
    assert (tmp_path / "env").read_bytes() == b"fake-token-1"
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_failed_write_leaves_no_descriptor_open(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        tree.create_file("env", b"fake-token", dir_fd=directory)
    assert open_descriptors() == before


def test_removing_a_tree_removes_links_not_what_they_lead_to(tmp_path: Path, directory: int) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_bytes(b"untouched")
    doomed = tmp_path / "doomed"
    (doomed / "deep" / "er").mkdir(parents=True)
    (doomed / "deep" / "link").symlink_to(victim)
    (doomed / "deep" / "er" / "file").write_bytes(b"x")
    (tmp_path / "top").symlink_to(victim)
    for name in ("doomed", "top", "never-there"):
        tree.remove_tree(name, dir_fd=directory)
    assert sorted(os.listdir(tmp_path)) == ["victim"]
    assert (victim / "file").read_bytes() == b"untouched"


def test_temporary_names_cannot_be_guessed() -> None:
    names = {tree.temporary_name() for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".") and len(name) > 16 for name in names)
