"""What killed workers leave behind: it is swept, and it is nobody's rollback and no neighbour's loss."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secretsd.refresh.files import published, tree
from secretsd.refresh.files.publish import Owner, RenderedFile, publish
from tests.refresh.daemon import Daemon, Home, a_bundle, live
from tests.refresh.fakes import candidate, prepare

FILES = (RenderedFile("env", b"fake-token"),)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return prepare(tmp_path / "run")


def show(run: Path, generation: int, name: str = "bot") -> None:
    publish(run, candidate(name, f"d{generation}"), generation, FILES, Owner())


def leave(run: Path, generation: int, name: str = "bot") -> None:
    """What a worker leaves that is killed right before its swap."""
    for kind in (tree.GENERATIONS, tree.COPIES):
        for left in (str(generation), tree.temporary_name()):
            (run / kind / name / left).mkdir()
            (run / kind / name / left / "0").write_bytes(b"fake-half")
    (run / tree.temporary_name()).symlink_to(f"{tree.GENERATIONS}/{name}/{generation}")


def kept(run: Path, name: str = "bot") -> list[str]:
    (both,) = {tuple(sorted(os.listdir(run / kind / name))) for kind in (tree.GENERATIONS, tree.COPIES)}
    return list(both)


def links(run: Path) -> list[str]:
    return [name for name in os.listdir(run) if name.startswith(tree.TEMPORARY_PREFIX)]


def test_the_rollback_is_what_was_shown_before_and_not_what_a_killed_worker_left(run: Path) -> None:
    for generation in (1, 2):
        show(run, generation)
    leave(run, 3)
    show(run, 4)
    assert kept(run) == ["1", "2", "4"]


def test_a_sweep_after_a_loss_keeps_what_is_shown_and_its_rollback(run: Path) -> None:
    for generation in (1, 2):
        show(run, generation)
    leave(run, 3)
    assert published.sweep_bundle(run, "bot", 2) == 5
    assert (kept(run), links(run)) == (["1", "2"], [])
    show(run, 4)
    assert kept(run) == ["1", "2", "4"]


def test_a_sweep_touches_nothing_of_a_neighbour_that_is_being_published(run: Path) -> None:
    for name in ("bot", "bot-2"):
        show(run, 1, name)
        leave(run, 2, name)
    before = sorted(run.rglob("*"))
    published.sweep_bundle(run, "bot", 1)
    assert kept(run, "bot") == ["1"]
    (link,) = links(run)
    assert (run / link).readlink() == Path(".generations/bot-2/2")
    assert {path for path in before if "bot-2" in path.parts} <= set(run.rglob("*"))


def test_a_sweep_keeps_the_copy_of_what_is_published_also_if_its_link_was_taken_away(run: Path) -> None:
    show(run, 1)
    (run / "bot").unlink()
    published.sweep_bundle(run, "bot", 1)
    assert kept(run) == ["1"]


def test_a_sweep_keeps_what_a_link_shows_also_if_nobody_knows_its_record(run: Path) -> None:
    show(run, 1)
    published.sweep_bundle(run, "bot", None)
    assert (run / "bot" / "env").read_bytes() == b"fake-token"


def test_a_worker_that_is_lost_before_its_swap_leaves_nothing(home: Home) -> None:
    home.configure(a_bundle(more=""))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            for number in (2, 3):
                home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
                await daemon.refresh()
            leave(home.runtime_dir, 4)
            daemon.workers.lost_before = "prepared"
            await daemon.refresh()
            assert (kept(home.runtime_dir), links(home.runtime_dir)) == (["1", "2", "3"], [])
            daemon.workers.lost_before = None
            home.vault.put("prod/bot", {"TOKEN": "fake-token-4"})
            await daemon.refresh()
            assert kept(home.runtime_dir) == ["1", "2", "3", "4"]

    live(scenario())
