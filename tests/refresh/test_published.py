from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secretsd.errors import LocalIOError
from secretsd.model import PublishRecord
from secretsd.refresh.files import drift, published, tree
from secretsd.refresh.files.publish import Owner, RenderedFile, publish
from tests.refresh.fakes import candidate, prepare


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return prepare(tmp_path / "run")


def show(run: Path, generation: int = 1, name: str = "bot") -> PublishRecord:
    files = (RenderedFile("env", b"fake-token"), RenderedFile("deep/er/key", b"fake-key"))
    return publish(run, candidate(name), generation, files, Owner())


def generation_of(run: Path, name: str = "bot") -> Path:
    return run / (run / name).readlink()


def _rewrite(base: Path) -> None:
    (base / "env").write_bytes(b"fake-evil!")


def _rewrite_and_hide_the_time(base: Path) -> None:
    before = (base / "env").stat()
    (base / "env").write_bytes(b"fake-evil!")
    os.utime(base / "env", ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(base: Path) -> None:
    shutil.copy2(base / "env", base / "new")
    os.rename(base / "new", base / "env")


def _remove_deep(base: Path) -> None:
    shutil.rmtree(base / "deep")


def _put_a_link_on_the_way(base: Path) -> None:
    os.rename(base / "deep", base / "moved")
    (base / "deep").symlink_to("moved")


def _remove_all(base: Path) -> None:
    shutil.rmtree(base)


def _link(base: Path) -> None:
    os.rename(base / "env", base / "moved")
    (base / "env").symlink_to("moved")


@pytest.mark.parametrize(
    "alter",
    [
        _rewrite,
        _rewrite_and_hide_the_time,
        _replace,
        _remove_deep,
        _link,
        _put_a_link_on_the_way,
        lambda base: (base / "deep").chmod(0o777),
        lambda base: (base / "deep" / "er").chmod(0o777),
        lambda base: (base / "env").unlink(),
        lambda base: (base / "env").chmod(0o644),
        lambda base: os.link(base / "env", base / "second"),
        _remove_all,
    ],
)
def test_whatever_is_done_to_a_published_file_is_seen(run: Path, alter: Callable[[Path], None]) -> None:
    record = show(run)
    assert drift.is_intact(run, record)
    time.sleep(0.012)  # ctime is as coarse as the kernel's tick: 10 ms at 100 Hz
    alter(generation_of(run))
    assert not drift.is_intact(run, record)


def test_reading_a_published_file_is_no_drift(run: Path) -> None:
    record = show(run)
    (run / "bot" / "env").read_bytes()
    assert drift.is_intact(run, record)


def test_a_link_that_shows_something_else_is_seen(run: Path) -> None:
    record = show(run)
    (run / "bot").unlink()
    assert not drift.is_intact(run, record)
    (run / "bot").symlink_to("/etc")
    assert not drift.is_intact(run, record)
    assert published.read_record(run, "bot") is None


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b'{"bundle": "bot"}', b"\xff"])
def test_a_damaged_record_is_no_record(run: Path, text: bytes) -> None:
    show(run)
    (run / tree.COPIES / "bot" / "1" / tree.RECORD).write_bytes(text)
    assert published.read_record(run, "bot") is None


def test_a_record_of_another_bundle_or_generation_is_not_believed(run: Path) -> None:
    for name in ("bot", "other"):
        show(run, 1, name)
    show(run, 2)
    copies = run / tree.COPIES
    for foreign in (copies / "other" / "1", copies / "bot" / "1"):
        shutil.copy(foreign / tree.RECORD, copies / "bot" / "2" / tree.RECORD)
        assert published.read_record(run, "bot") is None


def test_what_a_killed_publish_left_is_swept_and_the_rollback_is_not(run: Path) -> None:
    show(run, 3)
    show(run, 4)
    for kind in (tree.GENERATIONS, tree.COPIES):
        for left in ("5", ".new-0123", "1"):
            (run / kind / "bot" / left).mkdir()
            (run / kind / "bot" / left / "env").write_text("fake")
        (run / kind / "unshown" / "1").mkdir(parents=True)
    (run / ".new-abcd").symlink_to("x")
    assert published.sweep(run, {}) == 9
    for kind in (tree.GENERATIONS, tree.COPIES):
        assert sorted(os.listdir(run / kind / "bot")) == ["3", "4"]
        assert os.listdir(run / kind / "unshown") == []
    assert not (run / ".new-abcd").is_symlink()
    record = published.read_record(run, "bot")
    assert record is not None
    assert drift.is_intact(run, record)


def test_an_unused_generation_number_that_was_given_is_remembered(run: Path) -> None:
    show(run, 3)
    (run / tree.COPIES / "bot" / "9").mkdir()
    (run / tree.GENERATIONS / "bot" / ".new-12").mkdir()
    assert published.highest_generation(run, "bot") == 9
    assert published.highest_generation(run, "nobody") == 0


def test_every_bundle_with_a_trace_is_found_so_that_it_can_be_removed(run: Path) -> None:
    show(run, 1, "shown")
    (run / tree.GENERATIONS / "half").mkdir()
    (run / tree.COPIES / "copied").mkdir()
    (run / "stranger").mkdir()
    (run / "link").symlink_to("/etc")
    assert published.bundles_present(run) == {"shown", "half", "copied"}


def test_removing_a_bundle_leaves_nothing_of_it_and_everything_of_the_others(run: Path) -> None:
    show(run, 1, "bot")
    kept = show(run, 1, "bot-2")
    published.remove(run, "bot")
    assert [str(path) for path in run.rglob("*") if "bot" in path.parts] == []
    assert drift.is_intact(run, kept)
    published.remove(run, "bot")


def test_a_stranger_with_a_bundles_name_is_not_removed(run: Path) -> None:
    (run / "bot").symlink_to("/etc")
    published.remove(run, "bot")
    assert (run / "bot").is_symlink()


def test_the_digest_key_lives_as_long_as_the_boot_and_a_damaged_one_is_replaced(run: Path) -> None:
    key = published.read_digest_key(run)
    prepare(run)
    assert published.read_digest_key(run) == key
    (run / tree.DIGEST_KEY).write_bytes(key[:5])
    prepare(run)
    assert len(published.read_digest_key(run)) == tree.DIGEST_KEY_BYTES
    assert published.read_digest_key(run) != key
    assert (run / tree.DIGEST_KEY).stat().st_mode & 0o777 == 0o600


def test_a_runtime_directory_that_cannot_be_used_is_an_error_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for place in ("file", "link", "file/below"):
        with pytest.raises(LocalIOError, match="cannot use the runtime directory") as caught:
            prepare(tmp_path / place)
        assert caught.value.advice


def test_two_daemons_never_work_in_one_runtime_directory(tmp_path: Path) -> None:
    prepare(tmp_path / "run")
    lock = published.lock(tmp_path / "run")
    with pytest.raises(LocalIOError, match="another secretsd uses the runtime directory"):
        os.close(published.lock(tmp_path / "run"))
    os.close(lock)
    os.close(published.lock(tmp_path / "run"))
