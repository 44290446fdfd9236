"""A directory's files: nothing outside of it, nothing that is no file, and each error in its class."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.errors import Failure, FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources import files
from secretsd.refresh.sources.files import FileSource
from secretsd.refresh.sources.interface import FetchFailure
from tests.refresh.sources.conftest import soon

NOBODY = 65534


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where any user can reach it, with a secret outside beside it."""
    parent = Path(tempfile.mkdtemp(prefix="secretsd-"))
    parent.chmod(0o755)
    (parent / "outside.json").write_bytes(b"fake-outside")
    (parent / "secrets").mkdir(mode=0o755)
    yield parent / "secrets"
    shutil.rmtree(parent)


def fetch(directory: Path, name: str) -> FetchedSecret | FetchFailure:
    (found,) = FileSource("dev", directory=directory).fetch([SecretRef("dev", name)], deadline=soon())
    return found


def value(directory: Path, name: str) -> bytes:
    found = fetch(directory, name)
    assert isinstance(found, FetchedSecret), found
    return found.payload


def failure(directory: Path, name: str) -> Failure:
    found = fetch(directory, name)
    assert isinstance(found, FetchFailure)
    return found.failure


def told(directory: Path, name: str) -> tuple[str, FailureClass]:
    found = failure(directory, name)
    return found.code, found.failure_class


@pytest.mark.parametrize(
    "name",
    ["../outside.json", "a/../../outside.json", "", ".", "..", "a//b", "/etc/hostname", "a\0b", "bot/"],
)
def test_an_id_that_leads_out_is_refused_before_anything_is_opened(directory: Path, name: str) -> None:
    assert told(directory, name) == ("bad-secret-id", FailureClass.DATA)


@pytest.mark.parametrize("target", ["../outside.json", "/etc/hostname", ".."])
def test_a_link_that_leads_out_is_refused(directory: Path, target: str) -> None:
    (directory / "link").symlink_to(target)
    (directory / "inner").mkdir()
    (directory / "inner" / "link").symlink_to(f"../{target}" if target.startswith(".") else target)
    for name in ("link", "inner/link"):
        assert told(directory, name) == ("bad-secret-id", FailureClass.DATA)
    (directory / "up").symlink_to("..")
    assert told(directory, "up/outside.json") == ("bad-secret-id", FailureClass.DATA)


def test_a_link_that_stays_inside_is_followed_as_for_mounted_volumes(directory: Path) -> None:
    (directory / "..2026").mkdir()
    (directory / "..2026" / "bot.json").write_bytes(b"fake")
    (directory / "..data").symlink_to("..2026")
    (directory / "bot.json").symlink_to("..data/bot.json")
    assert value(directory, "bot.json") == b"fake"


def test_a_directory_that_is_itself_reached_by_a_link_is_good(directory: Path) -> None:
    (directory / "bot").write_bytes(b"fake")
    alias = directory.parent / "alias"
    alias.symlink_to("secrets")
    assert value(alias, "bot") == b"fake"


def test_a_link_that_is_put_there_in_the_middle_is_not_followed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "bot").write_bytes(b"fake")
    opened = files._open_below

    def exchanged(root: str, parts: list[str]) -> int:
        (directory / "bot").unlink()
        (directory / "bot").symlink_to("../outside.json")
        return opened(root, parts)

    monkeypatch.setattr(files, "_open_below", exchanged)
    assert told(directory, "bot") == ("unreachable", FailureClass.TRANSIENT)


def test_what_is_no_regular_file_is_refused_and_holds_nobody_up(directory: Path) -> None:
    (directory / "directory").mkdir()
    os.mkfifo(directory / "fifo")
    assert told(directory, "directory") == ("not-a-file", FailureClass.DATA)
    assert told(directory, "fifo") == ("not-a-file", FailureClass.DATA)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s"))
        assert told(directory, "s") == ("unreachable", FailureClass.TRANSIENT)


def test_a_file_that_everybody_may_write_is_refused(directory: Path) -> None:
    file = directory / "bot"
    file.write_bytes(b"fake")
    file.chmod(0o646)
    assert told(directory, "bot") == ("writable-by-all", FailureClass.DATA)
    file.chmod(0o664)  # a group of developers shares it
    assert value(directory, "bot") == b"fake"


@pytest.mark.parametrize("name", ["bot", "inner/bot"])
def test_a_file_that_everybody_may_replace_is_refused(directory: Path, name: str) -> None:
    file = directory / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"fake")
    for open_to_all in {directory, file.parent}:
        open_to_all.chmod(0o757)
        assert told(directory, name) == ("writable-by-all", FailureClass.DATA)
        open_to_all.chmod(0o1777)  # as /tmp: others cannot take the file away
        assert value(directory, name) == b"fake"


def test_a_directory_that_is_not_there_refuses_nothing(directory: Path) -> None:
    assert told(directory / "away", "bot") == ("unreachable", FailureClass.TRANSIENT)
    (directory / "file").touch()
    assert told(directory / "file" / "x", "bot") == ("unreachable", FailureClass.TRANSIENT)
    assert told(directory, "file/bot") == ("secret-missing", FailureClass.REFUSAL)
    (directory / "dangling").symlink_to("nowhere")
    assert told(directory, "dangling") == ("secret-missing", FailureClass.REFUSAL)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: reads as another user")
@pytest.mark.parametrize("closed", ["file", "directory"])
def test_what_the_daemon_may_not_read_is_about_the_daemon(directory: Path, closed: str) -> None:
    (directory / "bot").write_bytes(b"fake")
    (directory / "bot").chmod(0o600 if closed == "file" else 0o644)
    directory.chmod(0o700 if closed == "directory" else 0o755)
    os.seteuid(NOBODY)
    try:
        found = failure(directory, "bot")
    finally:
        os.seteuid(0)
    assert (found.code, found.failure_class) == ("access-denied", FailureClass.IDENTITY)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EIO, ("unreachable", FailureClass.TRANSIENT)),
        (errno.ESTALE, ("unreachable", FailureClass.TRANSIENT)),
        (errno.EMFILE, ("unreachable", FailureClass.TRANSIENT)),
        (errno.EACCES, ("access-denied", FailureClass.IDENTITY)),
        (errno.EPERM, ("access-denied", FailureClass.IDENTITY)),
        (errno.ENOENT, ("secret-missing", FailureClass.REFUSAL)),
    ],
)
def test_each_error_of_the_kernel_has_its_class(
    directory: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: tuple[str, FailureClass]
) -> None:
    def failing(*_: object) -> int:
        raise OSError(number, os.strerror(number), "fake-name-of-the-kernel")

    (directory / "bot").write_bytes(b"fake")
    monkeypatch.setattr(files, "_open_below", failing)
    assert told(directory, "bot") == expected
    assert "fake-name" not in repr(failure(directory, "bot"))


def test_a_new_content_has_a_new_version_that_tells_nothing_of_it(directory: Path) -> None:
    seen = set()
    for number in range(3):
        new = directory / "new"
        new.write_bytes(f"fake-{number}".encode())
        os.utime(new, ns=(0, 1_700_000_000_000_000_000 + number))
        new.rename(directory / "bot")
        found = fetch(directory, "bot")
        assert isinstance(found, FetchedSecret)
        assert found.created_at == pytest.approx(1_700_000_000)
        seen.add(found.version_id)
    assert len(seen) == 3


def test_a_file_that_is_written_to_meanwhile_is_not_taken_in_half(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "bot").write_bytes(b"fake-half")

    class Writer:
        """Moves the file on between the first look at it and the second."""

        looks = 0

        def __call__(self, descriptor: int) -> os.stat_result:
            status = os.stat(descriptor)
            if not stat.S_ISDIR(status.st_mode):
                self.looks += 1
                os.utime(directory / "bot", ns=(0, self.looks))
            return status

    monkeypatch.setattr(files.os, "fstat", Writer())
    assert told(directory, "bot") == ("unreachable", FailureClass.TRANSIENT)
