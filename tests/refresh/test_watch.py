"""Drift: whoever touches a published file is heard or seen within two seconds, and undone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mmap
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd import inotify
from secretsd.inotify import Event, Inotify
from secretsd.refresh import conductor
from secretsd.refresh.files import tree, watch
from secretsd.refresh.files.watch import Watch
from tests.refresh.daemon import Daemon, Home, a_bundle, live
from tests.refresh.test_repair import DAMAGES, GOOD, Damage, damaged

FOUND_WITHIN_S = 2.0
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sets a limit of inotify")


def edit_and_restore_mtime(run: Path) -> None:
    path = run / "bot" / "env"
    before = path.stat()
    path.write_bytes(b"TOKEN='fake-evil-1'\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def open_the_directory(run: Path) -> None:
    (run / (run / "bot").readlink()).chmod(0o777)


def give_away(run: Path) -> None:
    os.chown(run / "bot" / "env", 65534, 65534)


ALL_DAMAGES = [*DAMAGES, edit_and_restore_mtime, open_the_directory]
if os.geteuid() == 0:
    ALL_DAMAGES.append(give_away)


async def repaired(daemon: Daemon, generation: int) -> float:
    """How long it took until that generation was shown, in seconds."""
    began = time.monotonic()
    await daemon.until(lambda: daemon.generation() == generation)
    assert daemon.home.env() == GOOD
    return time.monotonic() - began


@pytest.mark.parametrize("damage", ALL_DAMAGES)
def test_drift_is_heard_at_once_and_repaired_also_after_many_generations(
    home: Home, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "LOOK_INTERVAL_S", 3600.0)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            for number in (1, 2, 3, 1):
                home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
                await daemon.refresh()
            generation = daemon.generation() or 0
            await damaged(home, damage)
            assert await repaired(daemon, generation + 1) < FOUND_WITHIN_S

    live(scenario())


@pytest.mark.parametrize("damage", ALL_DAMAGES)
def test_drift_is_seen_although_nobody_listens(
    home: Home, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "keep_up", lambda *_: None)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await damaged(home, damage)
            assert await repaired(daemon, 2) < FOUND_WITHIN_S

    live(scenario())


def test_drift_is_recorded_with_what_it_was(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await asyncio.sleep(0.02)
            (home.runtime_dir / "bot" / "env").chmod(0o644)
            await repaired(daemon, 2)
            seen = daemon.status()["drift"]
            what = "env has mode 0644, was published with 0600"
            assert (seen["count"], seen["last"], seen["repaired"]) == (1, [what], True)
            last = daemon.state().entry.history[-1]
            assert (last.generation, last.copy_of) == (2, 1)
            assert last.reason == f"its published files were altered: {what}"
            assert [record.__dict__["what"] for record in caplog.records if "altered" in record.msg] == [what]

    live(scenario())


def test_drift_of_the_time_without_a_daemon_is_found_at_its_start_and_recorded(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
            home.vault.hang("prod/bot")
            await damaged(home, edit_and_restore_mtime)
            async with Daemon(home, ready=False) as daemon:
                assert await repaired(daemon, 2) < FOUND_WITHIN_S
                assert daemon.status()["drift"]["count"] == 1
                home.vault.open_gate.set()

    live(scenario())


def test_a_link_that_was_removed_without_a_daemon_is_restored_in_an_outage(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
            home.vault.fail("prod/bot")
            (home.runtime_dir / "bot").unlink()
            async with Daemon(home) as daemon:
                await repaired(daemon, 2)

    live(scenario())


@pytest.fixture
def short_queue() -> Iterator[None]:
    """inotify instances that are made meanwhile drop events beyond the sixteenth."""
    before = QUEUE.read_text()
    QUEUE.write_text("16")
    yield
    QUEUE.write_text(before)


@needs_root
def test_a_burst_that_overflows_inotify_hides_no_drift(
    home: Home, short_queue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(a_bundle(), a_bundle("noisy", more=""))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            noisy = home.runtime_dir / "noisy"
            script = (
                "import os, sys, time\n"
                "os.chdir(sys.argv[1])\n"
                "end = time.monotonic() + 3\n"
                "while time.monotonic() < end:\n"
                "    for name in map(str, range(99)): open(name, 'w').close(); os.unlink(name)"
            )
            burst = await asyncio.create_subprocess_exec(sys.executable, "-c", script, noisy)
            await asyncio.sleep(0.5)
            await damaged(home, edit_and_restore_mtime)
            assert await repaired(daemon, 2) < FOUND_WITHIN_S
            burst.terminate()
            await burst.wait()

    overflows: list[Event] = []
    is_end = Watch._is_end

    def noted(self: Watch, event: Event) -> bool:
        overflows.extend([event] if event.mask & inotify.Q_OVERFLOW else [])
        return is_end(self, event)

    monkeypatch.setattr(Watch, "_is_end", noted)
    live(scenario())
    assert overflows, "no burst was planted"


def test_who_touches_its_file_without_end_is_not_listened_to_for_a_while(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            path, watch = home.runtime_dir / "bot" / "env", daemon.conductor.watch
            assert listens(watch)
            end = time.monotonic() + 5
            script = (
                "import os, sys\n"
                "os.chdir(sys.argv[1])\n"
                "while True:\n"
                "    for name, mode in (('env', 0o600), ('x', 0o700)) * 99: os.chmod(name, mode)"
            )
            path.with_name("x").touch()  # two in turn: the kernel joins events that are the same
            touching = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path.parent)
            while listens(watch):
                assert time.monotonic() < end
                await asyncio.sleep(0.01)
            touching.kill()
            await touching.wait()
            watch.keep_up(time.monotonic() + 60)
            assert listens(watch)

    live(scenario())


def listens(watch: Watch) -> bool:
    return watch._ear is not None


def test_a_fight_over_a_file_does_not_wear_out_the_host(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            end = time.monotonic() + 6
            while time.monotonic() < end:
                await asyncio.sleep(0.02)
                (home.runtime_dir / "bot" / "env").chmod(0o644)
            assert 10 <= (daemon.generation() or 0) <= 24
            assert len(helper.told) == 1, "the content is the same: nobody is told"

    live(scenario())


def test_a_limit_of_inotify_is_told_and_files_are_looked_at_all_the_same(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(watch, "Inotify", refuse)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            assert "not watched" in daemon.conductor.watch.problem
            await damaged(home, edit_and_restore_mtime)
            assert await repaired(daemon, 2) < FOUND_WITHIN_S

    live(scenario())


def test_who_is_sure_is_right_as_the_kernel_says_and_then_hardly_ever_looks(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rest(daemon)
            generation = (home.runtime_dir / (home.runtime_dir / "bot").readlink()).stat().st_ino
            unwatched = home.state_dir.stat().st_ino
            assert watched_inodes() & {generation, unwatched} == {generation}
            (home.runtime_dir / "bot" / "env").unlink()
            assert await repaired(daemon, 2) < FOUND_WITHIN_S
            await rest(daemon)

    live(scenario())


def test_a_directory_that_the_kernel_does_not_watch_is_told_and_looked_at(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Inotify.add

    def refuse(self: Inotify, path: Path, mask: int) -> int:
        if tree.GENERATIONS in path.parent.parts:  # under whatever name it comes
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return add(self, path, mask)

    monkeypatch.setattr(Inotify, "add", refuse)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            async with asyncio.timeout(10):
                while "not watched" not in daemon.conductor.watch.problem:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            await damaged(home, edit_and_restore_mtime)
            assert await repaired(daemon, 2) < FOUND_WITHIN_S

    live(scenario())


def test_a_write_through_a_memory_map_of_which_inotify_says_nothing_is_found_at_the_next_look(
    home: Home,
) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            with (home.runtime_dir / "bot" / "env").open("r+b") as file:
                mapped = mmap.mmap(file.fileno(), 0)
            await rest(daemon)
            mapped[7:11] = b"evil"
            mapped.close()
            daemon.conductor.look()  # as with each ping of systemd's watchdog
            await repaired(daemon, 2)

    live(scenario())


async def rest(daemon: Daemon) -> None:
    """Waits until the daemon looks at long intervals only."""
    end = time.monotonic() + 5
    while daemon.conductor._next_look - time.monotonic() < 5:
        assert time.monotonic() < end, "it goes on looking"
        await asyncio.sleep(0.05)


def test_a_watch_that_cannot_begin_leaves_nothing_open_however_often_it_is_tried(tmp_path: Path) -> None:
    async def scenario() -> None:
        watch = Watch(tmp_path, lambda: None)  # a runtime directory without generations
        watch.keep_up(0.0)
        assert "FileNotFoundError" in watch.problem
        before = open_descriptors()
        for number in range(1, 6):
            watch.keep_up(number * 31.0)
        assert open_descriptors() == before
        (tmp_path / tree.GENERATIONS).mkdir()
        watch.keep_up(10 * 31.0)
        assert watch.problem == ""
        assert open_descriptors() == before + 1
        watch.stop()
        assert open_descriptors() == before

    asyncio.run(scenario())


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("moved", ["run", f"run/{tree.GENERATIONS}"])
def test_a_directory_that_was_moved_away_is_not_listened_to_in_place_of_the_new_one(
    tmp_path: Path, moved: str
) -> None:
    generations = tmp_path / "run" / tree.GENERATIONS
    generations.mkdir(parents=True)

    async def scenario() -> None:
        heard = asyncio.Event()
        watch = Watch(tmp_path / "run", heard.set)
        watch.keep_up(0.0)
        (tmp_path / moved).rename(tmp_path / "away")
        generations.mkdir(parents=True)
        await asyncio.wait_for(heard.wait(), FOUND_WITHIN_S)
        watch.keep_up(0.1)
        heard.clear()
        (generations / "a-change").touch()
        await asyncio.wait_for(heard.wait(), FOUND_WITHIN_S)
        assert watched_inodes() == {generations.stat().st_ino, generations.parent.stat().st_ino}
        watch.stop()

    asyncio.run(scenario())


def test_what_is_put_into_a_new_directory_before_it_is_watched_is_watched_too(tmp_path: Path) -> None:
    generations = tmp_path / tree.GENERATIONS
    generations.mkdir()

    async def scenario() -> None:
        watch = Watch(tmp_path, lambda: None)
        watch.keep_up(0.0)
        # The loop does not run meanwhile.
        deep = generations / "bot" / "1" / "below"
        deep.mkdir(parents=True)
        (generations / "bot" / "1").rename(generations / "bot" / "2")
        wanted = {path.stat().st_ino for path in generations.rglob("*")}
        assert not watch.is_sure(wanted)
        await asyncio.sleep(0.05)
        assert watch.is_sure(wanted)
        assert wanted < watched_inodes()
        (generations / "bot" / "2" / "below").rmdir()
        await asyncio.sleep(0.05)
        assert not watch.is_sure(wanted)
        watch.stop()

    asyncio.run(scenario())


def watched_inodes() -> set[int]:
    """The inodes that this process's inotify instances watch, as the kernel says: proc_pid_fdinfo(5)."""
    found: set[int] = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listed them is closed
            if os.readlink(f"/proc/self/fd/{descriptor}") != "anon_inode:inotify":
                continue
            for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines():
                if line.startswith("inotify "):
                    found.add(int(line.partition(" ino:")[2].split()[0], 16))
    return found
