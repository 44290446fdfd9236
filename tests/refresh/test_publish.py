from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.errors import FailureClass, FailureError
from secretsd.model import PublishRecord
from secretsd.refresh.files import drift, published, tree
from secretsd.refresh.files.publish import Owner, RenderedFile, content_digest, io_failure, publish
from tests.refresh.fakes import candidate, prepare

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to other users")

OLD = (RenderedFile("env", b"fake-old"), RenderedFile("deep/er/key", b"fake-old-key"))
NEW = (RenderedFile("env", b"fake-new-"), RenderedFile("deep/er/key", b"fake-new-key-"))
# What a publish calls of the os module; each is made to fail, and to be the last.
CALLS = (
    "open", "mkdir", "chmod", "write", "fstat", "fchown", "fchmod", "close", "rename", "symlink",
    "unlink", "listdir", "readlink", "rmdir",
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return prepare(tmp_path / "run")


def show(
    run: Path, generation: int, files: tuple[RenderedFile, ...], owner: Owner | None = None
) -> PublishRecord:
    return publish(run, candidate(digest=f"d{generation}"), generation, files, owner or Owner())


def contents(base: Path | int) -> dict[str, bytes]:
    """A bundle as a bot reads it that opens the directory once."""
    directory = os.open(base, os.O_DIRECTORY) if isinstance(base, Path) else os.dup(base)
    found = {}
    for path in ("env", "deep/er/key"):
        with open(os.open(path, os.O_RDONLY, dir_fd=directory), "rb") as file:
            found[path] = file.read()
    os.close(directory)
    return found


def as_contents(files: tuple[RenderedFile, ...]) -> dict[str, bytes]:
    return {file.path: file.content for file in files}


def entries(base: Path) -> list[str]:
    return sorted(str(path.relative_to(base)) for path in base.rglob("*"))


def test_files_are_0600_and_directories_closed_to_others(run: Path) -> None:
    before = os.umask(0)
    try:
        show(run, 1, OLD)
    finally:
        os.umask(before)
    for path in run.rglob("*"):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_file():
            assert mode == 0o600, path
        elif path.name in (tree.GENERATIONS,) or path.parent == run:
            assert mode in (0o711, 0o700)
        else:
            assert mode in (0o750, 0o700), path
    assert stat.S_IMODE((run / tree.COPIES).stat().st_mode) == 0o700


@needs_root
def test_only_the_files_are_the_owners_and_directories_stay_cleanable(run: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    record = show(run, 1, OLD, Owner(nobody.pw_uid, nobody.pw_gid))
    generation = run / tree.GENERATIONS / "bot" / "1"
    for path in (generation, generation / "deep", generation / "deep" / "er", generation.parent):
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, nobody.pw_gid, 0o750), path
    for path in (generation / "env", generation / "deep" / "er" / "key"):
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (
            nobody.pw_uid,
            nobody.pw_gid,
            0o600,
        )
    for path in (run / tree.COPIES).rglob("*"):
        assert path.stat().st_uid == 0
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert drift.is_intact(run, record)


def test_the_link_is_relative_so_that_a_container_can_follow_it(run: Path, tmp_path: Path) -> None:
    show(run, 1, OLD)
    assert os.readlink(run / "bot") == ".generations/bot/1"
    run.rename(tmp_path / "mounted-elsewhere")
    assert contents(tmp_path / "mounted-elsewhere" / "bot") == as_contents(OLD)


def test_a_reader_that_opened_the_directory_before_the_swap_never_sees_a_mixture(run: Path) -> None:
    show(run, 1, OLD)
    opened = os.open(run / "bot", os.O_DIRECTORY)
    show(run, 2, NEW)
    assert contents(opened) == as_contents(OLD)
    assert contents(run / "bot") == as_contents(NEW)
    os.close(opened)


def test_three_earlier_contents_are_kept_and_no_more(run: Path) -> None:
    for generation in (1, 2, 3, 4, 7):
        show(run, generation, NEW)
    for kind in (tree.GENERATIONS, tree.COPIES):
        assert sorted(os.listdir(run / kind / "bot")) == ["2", "3", "4", "7"]


def test_a_variable_that_went_away_leaves_no_file_behind(run: Path) -> None:
    show(run, 1, OLD)
    show(run, 2, NEW[:1])
    assert os.listdir(run / "bot") == ["env"]


def test_the_daemons_own_copy_is_the_same_content(run: Path) -> None:
    record = show(run, 1, OLD)
    copy = run / tree.COPIES / "bot" / "1"
    assert [(copy / str(index)).read_bytes() for index in range(len(OLD))] == [file.content for file in OLD]
    read = published.read_record(run, "bot")
    assert read is not None
    assert (read.digest, read.files) == (record.digest, record.files)


def test_a_unit_that_starts_after_the_record_says_so_has_read_the_new_files(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]

    def swapped(*args: Any, **named: Any) -> None:
        clock[0] += 1
        rename(*args, **named)

    rename = os.rename
    monkeypatch.setattr(os, "rename", swapped)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    assert show(run, 1, OLD).published_monotonic == clock[0]


class Killed(BaseException):
    """SIGKILL in this process: nothing below catches it but what the kernel would do, too."""


def failing(patch: pytest.MonkeyPatch, nth: int, error: BaseException | None) -> list[str]:
    """Makes the nth call of CALLS raise `error`, counting from 0; returns the calls so far."""
    seen: list[str] = []

    def wrapped(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **named: Any) -> Any:
            seen.append(name)
            if len(seen) > nth and isinstance(error, Killed):
                raise error  # the dead do not tidy up
            if len(seen) == nth + 1 and error is not None:
                if name == "close":
                    real(*args)  # the descriptor is gone even if close(2) fails
                raise error
            return real(*args, **named)

        return call

    for name in CALLS:
        patch.setattr(os, name, wrapped(name))
    return seen


def calls_of_a_publish(tmp_path: Path) -> list[str]:
    run = tmp_path / "counted"
    prepare(run)
    show(run, 1, OLD)
    with pytest.MonkeyPatch.context() as patch:
        seen = failing(patch, 10**6, None)
        show(run, 2, NEW)
    return list(seen)


def each_call(tmp_path: Path) -> Iterator[tuple[int, str, Path]]:
    for nth, name in enumerate(calls_of_a_publish(tmp_path)):
        run = tmp_path / f"{nth}-{name}"
        prepare(run)
        show(run, 1, OLD)
        yield nth, name, run


def close_leaked(before: set[str]) -> None:
    """What the kernel closes for a dead process."""
    for descriptor in set(os.listdir("/proc/self/fd")) - before:
        with contextlib.suppress(OSError):  # listdir's own has gone with it
            os.close(int(descriptor))


def test_killed_at_any_call_the_bundle_is_old_or_new_and_the_next_start_finds_no_leftovers(
    tmp_path: Path,
) -> None:
    shown = []
    for nth, name, run in each_call(tmp_path):
        before = set(os.listdir("/proc/self/fd"))
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, nth, Killed())
            with pytest.raises(Killed):
                show(run, 2, NEW)
        close_leaked(before)
        found = contents(run / "bot")
        assert found in (as_contents(OLD), as_contents(NEW)), (nth, name)
        shown.append(found == as_contents(NEW))
        published.sweep(run, {})
        record = published.read_record(run, "bot")
        assert record is not None
        assert record.generation == (2 if shown[-1] else 1)
        assert drift.is_intact(run, record)
        keep = {"1", "2"} if shown[-1] else {"1"}
        for kind in (tree.GENERATIONS, tree.COPIES):
            assert set(os.listdir(run / kind / "bot")) == keep, (nth, name)
        assert not [name for name in os.listdir(run) if name.startswith(tree.TEMPORARY_PREFIX)]
        assert published.sweep(run, {}) == 0
    assert True in shown
    assert shown == sorted(shown)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_an_error_of_any_call_leaves_old_or_new_and_no_descriptor(tmp_path: Path, number: int) -> None:
    raised = 0
    for nth, name, run in each_call(tmp_path):
        before = set(os.listdir("/proc/self/fd"))
        failure = None
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, nth, OSError(number, os.strerror(number)))
            try:
                show(run, 2, NEW)
            except FailureError as error:
                raised += 1
                failure = error.failure
        found = contents(run / "bot")
        expected = [as_contents(NEW)] if failure is None else [as_contents(OLD), as_contents(NEW)]
        assert failure is None or failure.failure_class is FailureClass.IO
        assert "fake-new" not in repr(failure)
        assert found in expected, (nth, name)
        leaked = set(os.listdir("/proc/self/fd")) - before
        assert leaked == set(), (nth, name, leaked)
        published.sweep(run, {})
        assert contents(run / "bot") == found
    assert raised > 20


def test_a_swap_that_happened_before_its_error_was_seen_keeps_what_it_shows(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def late(source: str, target: str, **named: Any) -> None:
        rename(source, target, **named)
        if target == "bot":
            raise OSError(errno.EIO, "Input/output error")

    show(run, 1, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", late)
        with pytest.raises(FailureError):
            show(run, 2, NEW)
    assert contents(run / "bot") == as_contents(NEW)
    record = published.read_record(run, "bot")
    assert record is not None
    assert record.generation == 2


def test_a_publish_that_failed_can_be_repeated_with_the_next_number(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    show(run, 1, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", full)
        with pytest.raises(FailureError) as caught:
            show(run, 2, NEW)
    assert caught.value.failure.code == "no-space"
    assert os.listdir(run / tree.GENERATIONS / "bot") == ["1"]
    show(run, 3, NEW)
    assert contents(run / "bot") == as_contents(NEW)


def test_a_stranger_in_place_of_a_bundle_is_an_error_and_not_overwritten(run: Path) -> None:
    (run / "bot").mkdir()
    (run / "bot" / "theirs").write_text("untouched")
    with pytest.raises(FailureError):
        show(run, 1, OLD)
    assert (run / "bot" / "theirs").read_text() == "untouched"
    assert [name for name in os.listdir(run) if name.startswith(tree.TEMPORARY_PREFIX)] == []


def test_a_link_planted_in_the_tree_leads_nothing_astray(run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (run / tree.GENERATIONS / "bot").symlink_to(victim)
    with pytest.raises(FailureError):
        show(run, 1, OLD)
    assert os.listdir(victim) == []


def test_a_runtime_directory_that_is_gone_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(FailureError) as caught:
        show(tmp_path / "gone", 1, OLD)
    assert caught.value.failure.code == "missing"


@pytest.mark.parametrize("number", [*range(1, 134), 0])
def test_every_errno_becomes_a_sentence_with_a_fix(number: int) -> None:
    failure = io_failure(OSError(number, "x"), "cannot publish bundle bot")
    assert failure.failure_class is FailureClass.IO
    assert failure.message.startswith("cannot publish bundle bot: the runtime directory ")
    assert failure.advice


@pytest.mark.parametrize(
    ("number", "command"),
    [
        # secretsd-runtime.service leaves a mount that is there alone: its restart mends neither of these.
        (errno.ENOSPC, "mount -o remount,size="),
        (errno.EROFS, "mount -o remount,rw /run/secretsd"),
        (errno.ENOENT, "systemctl restart secretsd-runtime.service secretsd.service"),
    ],
)
def test_at_three_in_the_morning_the_advice_is_a_command_that_mends_it(number: int, command: str) -> None:
    assert io_failure(OSError(number, "x"), "cannot publish bundle bot").advice.startswith(command)


def test_a_digest_tells_apart_what_differs_and_nobody_without_the_key_can_guess_it() -> None:
    key, owner = b"k" * 32, Owner(5, 5)
    variants = [
        content_digest(key, OLD, owner),
        content_digest(key, NEW, owner),
        content_digest(key, OLD, Owner(5, 6)),
        content_digest(key, OLD, Owner()),
        content_digest(b"x" * 32, OLD, owner),
        content_digest(key, OLD[:1], owner),
        content_digest(key, (RenderedFile("a", b"1|1:b:1:2"),), owner),
        content_digest(key, (RenderedFile("a", b"1"), RenderedFile("b", b"2")), owner),
    ]
    assert len(set(variants)) == len(variants)
    assert content_digest(key, OLD[::-1], owner) == variants[0]
