"""Rollback, hold and resume, whatever the source, the daemon and the host do meanwhile."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import replace
from typing import Any

import pytest

from secretsd.control.commands import Commands
from secretsd.control.protocol import Reply
from secretsd.errors import ExitCode, FailureClass, TryAgainError
from secretsd.refresh import journal, notebook
from secretsd.refresh.files import tree
from tests.refresh.daemon import UNIT, Daemon, Home, a_bundle, live
from tests.refresh.fakes import failure


def token(number: int) -> bytes:
    return f"TOKEN='fake-token-{number}'\n".encode()


async def ask(daemon: Daemon, command: str, **request: object) -> Reply:
    return await Commands(daemon.conductor).run(
        command, "bot", {"timeout": "5s", "by": "uid 1000", **request}
    )


async def rotate(home: Home, daemon: Daemon, number: int) -> None:
    home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
    await daemon.refresh()
    await daemon.loaded()


async def history(daemon: Daemon) -> list[tuple[int, int | None, str, Any]]:
    body: Any = (await ask(daemon, "history")).body
    return [(g["generation"], g["copy_of"], g["state"], g["by"]) for g in body["generations"]]


def test_a_rollback_shows_the_earlier_content_tells_the_unit_and_stays(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            reply = await ask(daemon, "rollback", reason="fake orders were refused")
            assert reply.code is ExitCode.OK
            assert reply.message.startswith("bot shows generation 1 again, as generation 3; it stays until")
            assert home.env() == token(1)
            assert helper.told == [(UNIT, 1), (UNIT, 2), (UNIT, 3)]
            assert daemon.status()["hold"]["waiting"] == ["prod/bot (version v2)"]
            for _ in range(2):
                await daemon.refresh()
            assert (home.env(), daemon.generation()) == (token(1), 3)
            hold = daemon.status()["hold"]
            assert (hold["kind"], hold["by"], hold["reason"]) == (
                "rollback", "uid 1000", "fake orders were refused",
            )  # fmt: skip
            assert (hold["generation"], hold["from_generation"]) == (3, 2)
            assert hold["waiting"] == ["prod/bot (version v2)"]
            assert [secret["version_id"] for secret in daemon.status()["secrets"]] == ["v1"]
            assert (await history(daemon))[0] == (3, 1, "published", "uid 1000")

    live(scenario())


def test_a_rollback_holds_over_restarts_and_ends_with_a_newer_version(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
                await ask(daemon, "rollback")
            for _ in range(2):
                async with Daemon(home) as daemon:
                    await daemon.settled()
                    assert (home.env(), daemon.generation()) == (token(1), 3)
                    assert daemon.status()["hold"]["kind"] == "rollback"
            async with Daemon(home) as daemon:
                await rotate(home, daemon, 4)
                assert (home.env(), daemon.status()["hold"]) == (token(4), None)
            assert helper.told[-1] == (UNIT, 4)

    live(scenario())


def test_a_rollback_works_while_the_source_is_out_and_may_be_resumed_when_it_is_back(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            home.vault.fail("prod/bot")
            await daemon.refresh()
            assert (await ask(daemon, "rollback")).code is ExitCode.OK
            assert home.env() == token(1)
            reply = await ask(daemon, "resume")
            assert (reply.code, reply.message) == (
                ExitCode.UNAVAILABLE,
                "bot is no longer held; up to date and loaded: 0 of 1 bundles",
            )
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            reply = await ask(daemon, "resume")
            assert reply.message == "bot was not held; generation 4 is published and loaded"
            assert home.env() == token(2)

    live(scenario())


def test_resume_publishes_what_the_source_has(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            await ask(daemon, "rollback")
            reply = await ask(daemon, "resume")
            assert (reply.code, reply.message) == (
                ExitCode.OK,
                "bot is no longer held; generation 4 is published and loaded",
            )
            assert home.env() == token(2)
            assert daemon.status()["hold"] is None

    live(scenario())


def test_a_hold_keeps_what_is_published_whatever_is_rotated(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
                reply = await ask(daemon, "hold", reason="market is moving")
                assert reply.message == "bot stays on generation 1 until secretsctl resume bot"
                await ask(daemon, "hold")
                assert daemon.status()["hold"]["reason"] == "market is moving"
                for number in (2, 3):
                    home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
                    await daemon.refresh()
            async with Daemon(home) as daemon:
                await daemon.settled()
                assert (home.env(), daemon.generation()) == (token(1), 1)
                assert daemon.status()["hold"]["waiting"] == ["prod/bot (version v3)"]
                reply = await ask(daemon, "reload")
                assert (reply.code, reply.body["lines"]) == (
                    ExitCode.OK,
                    [
                        "bot: an operator holds it, so this waits: prod/bot (version v3)",
                        "  to end it: secretsctl resume bot",
                    ],
                )
                assert (await ask(daemon, "wait", max_age="1h")).code is ExitCode.OK
                await ask(daemon, "resume")
                assert home.env() == token(3)
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


def test_a_held_bundle_that_is_altered_is_repaired_to_what_is_held(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await ask(daemon, "hold")
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            (home.runtime_dir / "bot" / "env").unlink()
            await daemon.until(lambda: daemon.generation() == 2)
            assert home.env() == token(1)
            await daemon.refresh()
            assert home.env() == token(1)

    live(scenario())


def test_two_rollbacks_in_a_row_go_two_contents_back(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            await rotate(home, daemon, 3)
            await ask(daemon, "rollback")
            assert home.env() == token(2)
            await ask(daemon, "rollback")
            assert home.env() == token(1)
            await daemon.refresh()
            assert home.env() == token(1), "what was refused first is still refused"
            reply = await ask(daemon, "rollback")
            assert (reply.code, reply.message) == (
                ExitCode.DATA,
                "bot was not rolled back: no earlier content is kept on this host",
            )
            assert (await ask(daemon, "rollback", to=3)).code is ExitCode.OK
            assert home.env() == token(3)

    live(scenario())


def test_after_a_reboot_what_was_rolled_back_to_is_fetched_by_its_version(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
                await ask(daemon, "rollback")
            shutil.rmtree(home.runtime_dir)
            home.vault.pinned["prod/bot", "v1"] = b'{"TOKEN": "fake-token-1"}'
            async with Daemon(home) as daemon:
                await daemon.loaded()
                assert home.env() == token(1)
                await daemon.refresh()
                assert home.env() == token(1)
                assert daemon.status()["hold"]["waiting"] == ["prod/bot (version v2)"]
            async with Daemon(home) as daemon:
                await rotate(home, daemon, 3)
                assert home.env() == token(3)

    live(scenario())


def test_a_version_that_came_while_the_host_was_down_ends_a_rollback_at_the_boot(home: Home) -> None:
    """Not at the next refresh, an hour later: what is fetched first is what was held."""

    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
                await ask(daemon, "rollback")
            shutil.rmtree(home.runtime_dir)
            home.vault.pinned["prod/bot", "v1"] = b'{"TOKEN": "fake-token-1"}'
            home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
            async with Daemon(home) as daemon:
                await daemon.until(lambda: daemon.generation() == 5)
                assert (home.env(), daemon.status()["hold"]) == (token(3), None)

    live(scenario())


@pytest.mark.parametrize(("rotated", "is_held"), [(False, True), (True, False)])
def test_a_source_without_versions_is_not_said_to_be_held_on_what_it_never_was(
    home: Home, caplog: pytest.LogCaptureFixture, rotated: bool, is_held: bool
) -> None:
    secrets = home.directory / "secrets"
    secrets.mkdir(mode=0o700)
    secret = secrets / "bot.json"

    def put(number: int) -> None:
        secret.write_text(f'{{"TOKEN": "fake-token-{number}"}}')

    local = f'type = "file"\ndirectory = "{secrets}"'
    text = home.config.read_text().replace('type = "aws-secretsmanager"', local)
    home.config.write_text(text.replace("prod/bot", "bot.json"))

    async def scenario() -> None:
        async with home.helper():
            put(1)
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await ask(daemon, "hold")
                assert [each["stage"] for each in daemon.status()["secrets"]] == [None]
            shutil.rmtree(home.runtime_dir)
            if rotated:
                put(2)
            async with Daemon(home) as daemon:
                await daemon.loaded()
                assert home.env() == token(2 if rotated else 1)
                assert (daemon.status()["hold"] is not None) is is_held
                assert ("hold ended" in caplog.messages) is not is_held

    live(scenario())


def test_a_kill_between_the_word_and_the_deed_leaves_a_rollback_that_is_done_at_the_next_start(
    home: Home,
) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
                daemon.conductor.bundles.restores._under_way.add("bot")
                asking = asyncio.create_task(ask(daemon, "rollback"))
                await asyncio.sleep(0)
                daemon.conductor.bundles.restores._under_way.clear()
                daemon.conductor.bundles.restores.publishing.add("elsewhere")
                daemon.conductor.bundles.restores.due = lambda _: {}  # type: ignore[method-assign]
                daemon.conductor.changes.announce()
                await daemon.until(lambda: daemon.state().entry.hold is not None)
                await daemon.conductor.bundles.notebook.write()
                asking.cancel()
            assert home.env() == token(2)
            async with Daemon(home) as daemon:
                await daemon.until(lambda: daemon.generation() == 3)
                assert home.env() == token(1)

    live(scenario())


def test_a_rollback_whose_copy_is_gone_is_taken_back_and_said(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            (home.runtime_dir / tree.COPIES / "bot" / "1" / "0").unlink()
            reply = await ask(daemon, "rollback")
            assert reply.code is ExitCode.IO
            assert "cannot be read" in reply.message
            assert (home.env(), daemon.status()["hold"]) == (token(2), None)

    live(scenario())


def test_nothing_published_is_nothing_to_hold(home: Home) -> None:
    home.vault.fail("prod/bot")

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            for command in ("hold", "rollback"):
                with pytest.raises(TryAgainError, match="bot is not published"):
                    await ask(daemon, command)

    live(scenario())


def test_withdraw_removes_every_generation_and_what_comes_back_is_what_was_held(home: Home) -> None:
    home.configure(a_bundle(keys='on_refusal = "withdraw"'))

    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
                await ask(daemon, "rollback")
                home.vault.fail("prod/bot", FailureClass.REFUSAL)
                await daemon.refresh()
                for kind in (tree.GENERATIONS, tree.COPIES):
                    assert not (home.runtime_dir / kind / "bot").exists()
                assert not (home.runtime_dir / "bot").is_symlink()
            async with Daemon(home) as daemon:
                await daemon.settled()
                assert daemon.generation() is None
                home.vault.pinned["prod/bot", "v1"] = b'{"TOKEN": "fake-token-1"}'
                home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
                home.vault.versions["prod/bot"] = 2  # granted again, and not rotated
                await daemon.refresh()
                assert home.env() == token(1)
                await daemon.refresh()
                assert home.env() == token(1)
                assert daemon.status()["hold"]["kind"] == "rollback"

    live(scenario())


def forget_variable_digests(home: Home) -> None:
    """Makes the records those of an earlier secretsd, which wrote down names only."""
    for path in (home.runtime_dir / tree.COPIES / "bot").glob(f"*/{tree.RECORD}"):
        record = json.loads(path.read_text())
        del record["variable_digests"]
        path.write_text(json.dumps(record))


def test_diff_does_not_call_new_what_an_earlier_secretsd_has_published(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
            forget_variable_digests(home)
            async with Daemon(home) as daemon:
                await daemon.settled()
                body: Any = (await ask(daemon, "diff")).body
                assert (body["added"], body["changed"], body["removed"]) == ([], [], [])
                home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
                body = (await ask(daemon, "diff")).body
                assert (body["added"], body["changed"], body["removed"]) == ([], ["TOKEN"], [])

    live(scenario())


def test_history_has_what_is_kept_also_where_the_journal_does_not_know_it(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
            (home.state_dir / "journal.json").unlink()
            async with Daemon(home) as daemon:
                await daemon.settled()
                assert await history(daemon) == [(2, None, "published", None), (1, None, "kept", None)]
                assert (await ask(daemon, "rollback", to=1)).code is ExitCode.OK

    live(scenario())


def test_diff_names_what_changes_and_no_value(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            (home.runtime_dir / "bot" / "env").chmod(0o640)
            body: Any = (await ask(daemon, "diff")).body
            assert (body["added"], body["changed"], body["removed"]) == ([], ["TOKEN"], [])
            assert body["versions"][0]["published"] == "v1"
            assert body["versions"][0]["source_has"] == "v2"
            assert "fake-token" not in str(body)
            home.vault.secrets["prod/bot"] = failure(secret="prod/bot")
            reply = await ask(daemon, "diff")
            assert (reply.code, reply.message) == (
                ExitCode.UNAVAILABLE,
                "bot cannot be compared: a fake failure",
            )

    live(scenario())


@pytest.mark.parametrize("command", ["hold", "rollback"])
def test_a_word_that_the_disk_does_not_take_is_no_success_and_is_written_when_it_does(
    home: Home, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "_RETRY_S", 0.1)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            home.state_dir.rename(away := home.directory / "away")
            reply = await ask(daemon, command)
            assert reply.code is ExitCode.IO
            assert "a restart of secretsd now would forget it: cannot write the journal" in reply.message
            assert daemon.status()["hold"]["kind"] == command
            away.rename(home.state_dir)
            await asyncio.sleep(0.5)
            hold = journal.read(home.state_dir)["bot"].hold
            assert hold is not None
            assert hold.kind == command
            assert daemon.conductor.bundles.notebook.problem == ""

    live(scenario())


@pytest.mark.parametrize("command", ["hold", "rollback"])
def test_what_was_held_is_not_said_to_be_held_when_a_reboot_has_lost_it(home: Home, command: str) -> None:
    """A source without versions gives what it has now, whatever it is asked for."""

    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
                await ask(daemon, command)
            shutil.rmtree(home.runtime_dir)
            home.vault.ignores_versions = True
            home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
            async with Daemon(home) as daemon:
                await daemon.loaded()
                assert (home.env(), daemon.status()["hold"]) == (token(3), None)

    live(scenario())


def test_a_rollback_does_not_wait_for_whoever_alters_the_files_again_and_again(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            drift = daemon.conductor.states["bot"].drift
            drift.repairs, drift.repaired_at = 1000, time.monotonic()  # the next repair is a minute away
            (home.runtime_dir / "bot" / "env").write_bytes(b"TOKEN='fake-edited'\n")
            assert (await ask(daemon, "rollback")).code is ExitCode.OK
            assert home.env() == token(1)

    live(scenario())


def test_a_rollback_that_meets_a_passing_fault_is_tried_again_and_not_forgotten(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            (home.runtime_dir / "bot").unlink()
            (home.runtime_dir / "bot").mkdir()  # no rename replaces a directory
            reply = await ask(daemon, "rollback", timeout="500ms")
            assert (reply.code, reply.message.partition(":")[0]) == (
                ExitCode.TRY_AGAIN,
                "bot is not rolled back yet, it is tried again",
            )
            assert daemon.status()["hold"]["kind"] == "rollback"
            assert (await ask(daemon, "hold")).code is ExitCode.OK
            (home.runtime_dir / "bot").rmdir()
            await daemon.until(lambda: (daemon.generation() or 0) > 2)
            assert home.env() == token(1), "what was gone back to is held, not what was refused"
            assert daemon.status()["hold"]["kind"] == "hold"

    live(scenario())


def test_a_held_version_that_is_gone_after_a_reboot_says_how_to_go_on(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await ask(daemon, "hold")
            shutil.rmtree(home.runtime_dir)
            async with Daemon(home) as daemon:
                (failed,) = daemon.status()["failures"]
                assert failed["failure_class"] == "refusal"
                assert "secretsctl resume bot" in failed["advice"]
                await ask(daemon, "resume")
                assert home.env() == token(1)

    live(scenario())


def test_a_crash_before_the_history_is_written_does_not_change_where_the_next_rollback_goes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(home, daemon, 2)
                await rotate(home, daemon, 3)
                await ask(daemon, "rollback")
                entry = daemon.state().entry
                daemon.state().entry = replace(entry, history=entry.history[:-1])
                await daemon.conductor.bundles.notebook.write()
            async with Daemon(home) as daemon:
                await daemon.settled()
                assert (await history(daemon))[0][:2] == (4, 2)
                await ask(daemon, "rollback")
                assert home.env() == token(1)

    live(scenario())
