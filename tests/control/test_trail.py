"""Nothing that happens to a secret is missing from the trail, and nothing secret is in it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from secretsd.audit import chain, writer
from secretsd.audit.ledger import NotOnRecordError
from secretsd.control.recording import Recording
from secretsd.errors import ExitCode, FailureClass
from tests.control.asking import NOBODY, Served, line, needs_root
from tests.refresh.daemon import UNIT, Home, a_bundle, live

_PRESUMABLY_ALL = {"seq", "time", "action", "actor", "phase", "hash"}


def path_of(home: Home) -> Path:
    return home.state_dir / "audit" / "refresher.jsonl"


def records(home: Home) -> list[dict[str, Any]]:
    """All records, of a chain that fits."""
    lines = path_of(home).read_bytes().splitlines(keepends=True)
    verdict = chain.verify(lines)
    assert (verdict.flaw, verdict.unfinished) == (None, None)
    found = [json.loads(each) for each in lines[1:] if chain.head_of(each)]
    assert all(each.keys() >= _PRESUMABLY_ALL for each in found)
    return found


def said(home: Home, *actions: str) -> list[dict[str, Any]]:
    """The records of these actions without what all have."""
    kept = (each for each in records(home) if each["action"] in actions)
    return [{name: each[name] for name in each if name not in ("seq", "time", "hash")} for each in kept]


def order_of(home: Home) -> list[str]:
    return [each["action"] for each in records(home)]


class FullDisk:
    """No record gets to the disk until there is `room`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._write_some = writer.write_some
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(writer, "write_some", self._full)

    def empty(self) -> None:
        self._monkeypatch.setattr(writer, "write_some", self._write_some)

    def _full(self, _fd: int, _data: bytes) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def landed(served: Served, *names: str) -> None:
    """A refresh, up to the last word of its worker."""
    await served.refresh(*names)
    await served.until(lambda: not served.conductor.bundles.flying)


async def until_trouble(served: Served) -> None:
    async with asyncio.timeout(5):
        while not served.conductor.trail.ledger.problem:  # noqa: ASYNC110 - it happens in another thread
            await asyncio.sleep(0.01)


async def until_well(served: Served) -> None:
    async with asyncio.timeout(10):
        while served.conductor.trail.ledger.problem:  # noqa: ASYNC110 - it happens in another thread
            await asyncio.sleep(0.01)


def test_a_rotation_is_on_record_from_its_read_to_its_unit(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with home.helper(), Served(home, socket_path) as served:
            await served.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await served.refresh()
            await served.loaded()

    live(scenario())
    text = path_of(home).read_text()
    assert "prod/bot" in text, "the check finds what is planted"
    assert "fake-token" not in text
    ours = [each for each in order_of(home) if each in ("fetch", "publish", "notify")]
    assert ours == ["fetch", "publish", "notify"] * 2
    _, fetch = said(home, "fetch")
    shared = {"actor": "daemon", "phase": "outcome", "result": "ok"}
    secret = {"source": "aws", "secret": "prod/bot", "version_id": "v2"}
    assert fetch == {"action": "fetch", **shared, **secret}
    _, publish = said(home, "publish")
    assert publish == {
        "action": "publish",
        **shared,
        "bundle": "bot",
        "generation": 2,
        "why": publish["why"],
        "secrets": [secret],
    }
    _, notify = said(home, "notify")
    where = {"bundle": "bot", "generation": 2, "unit": UNIT}
    assert notify == {"action": "notify", **shared, **where, "outcome": "acted"}
    assert order_of(home)[:3] == ["open", "start", "configure"]
    assert order_of(home)[-1] == "stop"


def test_what_comes_again_unchanged_is_one_line_for_a_source(home: Home, socket_path: Path) -> None:
    names = [f"bot{number}" for number in range(5)]
    for name in names:
        home.vault.put(f"prod/{name}", {"TOKEN": "fake-token-1"})
    home.configure(*(a_bundle(name, secret=f"prod/{name}", more="") for name in names))

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            home.vault.put("prod/bot3", {"TOKEN": "fake-token-2"})
            await landed(served, *names)

    live(scenario())
    assert len(said(home, "fetch")) == 5 + 1
    (again,) = said(home, "refetch")
    assert (again["source"], again["count"]) == ("aws", 4)
    assert sorted(again["secrets"]) == ["prod/bot0", "prod/bot1", "prod/bot2", "prod/bot4"]


def test_a_refusal_and_its_end_are_on_record_with_their_words(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            home.vault.fail("prod/bot", FailureClass.REFUSAL)
            await landed(served)
            await landed(served)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-1"})
            await landed(served)

    live(scenario())
    _, refused, back = said(home, "fetch")
    assert (refused["result"], refused["reason"]) == ("refused", "fake-refusal")
    assert refused["class"] == "refusal"
    assert (back["result"], back["version_id"]) == ("ok", "v2")
    (again,) = said(home, "refetch")
    assert (again["result"], again["reason"]) == ("refused", "fake-refusal")
    kept, well = said(home, "refresh")
    assert (kept["bundle"], kept["result"], kept["secret"]) == ("bot", "refused", "prod/bot")
    assert (well["bundle"], well["result"]) == ("bot", "ok")


def test_a_worker_that_dies_has_read_nothing_that_is_not_on_record(home: Home, socket_path: Path) -> None:
    home.configure(a_bundle(more=""), a_bundle("other", secret="prod/other", more=""))
    home.vault.put("prod/other", {"TOKEN": "fake-token-1"})

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            home.vault.fail("prod/other")
            served.workers.lost_before = "failed"
            await served.refresh("bot", "other")

    live(scenario())
    came, lost = said(home, "fetch")[-2:]
    assert (came["secret"], came["version_id"]) == ("prod/bot", "v2")
    assert (lost["secret"], lost["result"], lost["reason"]) == ("prod/other", "failed", "worker-lost")


def test_an_alteration_and_its_repair_are_on_record(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            (home.runtime_dir / "bot" / "env").write_bytes(b"TOKEN=evil\n")
            served.conductor.look()
            await served.until(lambda: served.generation() == 2)

    live(scenario())
    (drift,) = said(home, "drift")
    assert (drift["bundle"], len(drift["what"])) == ("bot", 1)
    repaired = said(home, "publish")[-1]
    assert (repaired["generation"], repaired["copy_of"]) == (2, 1)
    assert "altered" in repaired["why"]


def test_a_bundle_that_is_no_longer_configured_is_on_record_with_the_configuration(
    home: Home, socket_path: Path
) -> None:
    home.configure(a_bundle(more=""), a_bundle("other", more=""))

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            home.configure(a_bundle(more=""), a_bundle("third", more=""))
            await served.ask("reload")
            await served.until(lambda: "other" not in served.conductor.states)
            home.config.write_text("[daemon]\nnonsense = 1\n")
            assert (await served.ask("reload")).code is ExitCode.CONFIG

    live(scenario())
    _, changed, wrong = said(home, "configure")
    assert (changed["bundles"], changed["changed"]) == (2, ["third"])
    assert (wrong["result"], wrong["reason"], wrong["mistakes"]) == ("failed", "configuration", 1)
    (removed,) = said(home, "remove")
    assert removed["bundle"] == "other"


def test_an_order_is_on_record_before_and_after_with_who_gave_it(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            await served.ask("hold", "bot", reason="fake-token-in-a-reason")
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await served.ask("resume", "bot")
            await served.ask("rollback", "bot", to=1)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
            await served.refresh()
            await served.ask("plan")
            await served.ask("status")

    live(scenario())
    before, after = said(home, "hold")
    actor = before["actor"]
    assert (actor["uid"], actor["pid"], list(actor)) == (
        os.getuid(),
        os.getpid(),
        ["uid", "unit", "pid", "start"],
    )
    assert actor["start"] > 0
    assert list(before) == ["action", "actor", "phase", "request", "bundle"]
    assert (before["phase"], after["phase"], after["result"]) == ("intent", "outcome", "ok")
    assert before["request"] == after["request"]
    assert [each["generation"] for each in said(home, "rollback")] == [1, 1]
    assert said(home, "plan")[0]["phase"] == "outcome"
    assert said(home, "release")[0]["bundle"] == "bot"
    assert not said(home, "status"), "asked all the time, and shows nothing"
    assert "fake-token" not in path_of(home).read_text(), "what a client sent is not on record"


def test_a_reload_by_a_signal_is_on_record_and_refused_like_any_other(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            recording = Recording(served.conductor)
            await recording.run("reload", None, {"timeout": "5s"}, None)
            disk = FullDisk(monkeypatch)
            with pytest.raises(NotOnRecordError):
                await recording.run("reload", None, {}, None)
            disk.empty()
            await until_well(served)

    live(scenario())
    reloads = said(home, "reload")
    assert {each["actor"] for each in reloads} == {"daemon"}
    assert [each.get("reason") for each in reloads if each["phase"] == "outcome"][-1] == "audit-unavailable"


@needs_root
def test_a_stranger_is_on_record_and_their_words_are_not(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            for command in ("reload", "status", "no-such-command"):
                await served.ask_as(NOBODY, command, "bot")
            await served.ask_as(NOBODY, "hold", "no-such-bundle")

    live(scenario())
    refused = [each for each in records(home) if each.get("reason") == "not-allowed"]
    assert [each["action"] for each in refused] == ["reload", "status", "unknown", "hold"]
    assert {each["actor"]["uid"] for each in refused} == {NOBODY}
    assert [each.get("bundle") for each in refused] == ["bot", "bot", "bot", None]
    assert "no-such" not in path_of(home).read_text()


def test_an_order_is_refused_where_it_cannot_be_on_record_and_refreshes_go_on(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with home.helper(), Served(home, socket_path) as served:
            await served.loaded()
            disk = FullDisk(monkeypatch)
            for command in ("hold", "rollback", "resume", "reload"):
                began = time.monotonic()
                reply = await served.ask(command, "bot")
                assert reply.code is ExitCode.IO
                assert "No space left on device" in reply.message
                assert "refreshes go on" in str(reply.body["advice"])
                assert time.monotonic() - began < 0.35
            assert served.state().entry.hold is None
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await served.refresh()
            await served.loaded()
            assert b"fake-token-2" in home.env()
            warnings = (await served.ask("status")).body["daemon"]["warnings"]  # type: ignore[index]
            assert any("the audit log" in each for each in warnings)
            checks: Any = (await served.ask("doctor")).body["checks"]
            assert [each["state"] for each in checks if each["check"] == "audit"] == ["fail"]
            disk.empty()
            await until_well(served)
            assert (await served.ask("hold", "bot")).code is ExitCode.OK

    live(scenario())
    outcomes = [each for each in said(home, "hold", "rollback", "resume", "reload") if "result" in each]
    assert [each.get("reason") for each in outcomes] == ["audit-unavailable"] * 4 + [None]
    assert len(said(home, "publish")) == 2, "what happened meanwhile is on record, late"


def test_a_disk_that_hangs_is_not_waited_for_longer_than_a_quarter_of_a_second(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fdatasync = os.fdatasync

    def slow(fd: int) -> None:
        time.sleep(1.0)
        fdatasync(fd)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            await served.conductor.trail.ledger.durable()
            monkeypatch.setattr(os, "fdatasync", slow)
            began = time.monotonic()
            reply = await served.ask("hold", "bot")
            assert reply.code is ExitCode.IO
            assert 0.2 < time.monotonic() - began < 0.6
            began = time.monotonic()
            assert (await served.ask("hold", "bot")).code is ExitCode.IO
            assert time.monotonic() - began < 0.1, "it is known by now"
            monkeypatch.setattr(os, "fdatasync", fdatasync)
            await until_well(served)

    live(scenario())


def test_an_acknowledgement_is_never_held_back_and_said_once(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            for _ in range(50):
                assert (await served.ask("ack", "bot", generation=1)).code is ExitCode.OK
            disk = FullDisk(monkeypatch)
            served.conductor.trail.ledger.look()
            await served.ask("plan")
            await until_trouble(served)
            assert (await served.ask("ack", "bot", generation=1)).code is ExitCode.OK
            disk.empty()
            await until_well(served)

    live(scenario())
    (ack,) = said(home, "ack")
    assert (ack["bundle"], ack["generation"], ack["result"]) == ("bot", 1, "ok")


def test_a_log_that_cannot_be_opened_stops_no_daemon_and_is_opened_when_it_can(
    home: Home, socket_path: Path
) -> None:
    path_of(home).parent.mkdir()
    path_of(home).mkdir()

    async def scenario() -> None:
        async with home.helper(), Served(home, socket_path) as served:
            await served.loaded()
            assert "Is a directory" in served.conductor.trail.ledger.problem
            assert (await served.ask("hold", "bot")).code is ExitCode.IO
            shutil.rmtree(path_of(home))
            served.conductor.trail.ledger.look()
            assert served.conductor.trail.ledger.problem == ""
            assert (await served.ask("hold", "bot")).code is ExitCode.OK

    live(scenario())
    (recovery,) = said(home, "recovery")
    assert (recovery["reason"], recovery["lost"] > 4) == ("not-open", True)


def test_a_torn_file_on_a_full_disk_is_opened_when_there_is_room(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path_of(home).parent.mkdir()
    path_of(home).write_bytes(chain.opening("refresher", "fake-host", "boot", "now")[0] + b'{"seq":1,"ti')
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if data == b"\n":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    async def scenario() -> None:
        monkeypatch.setattr(os, "write", full)
        async with Served(home, socket_path) as served:
            for _ in range(3):
                served.conductor.trail.ledger.look()
                assert "No space left" in served.conductor.trail.ledger.problem
            monkeypatch.setattr(os, "write", write)
            served.conductor.trail.ledger.look()
            assert served.conductor.trail.ledger.problem == ""
            assert (await served.ask("hold", "bot")).code is ExitCode.OK

    live(scenario())
    assert [each["reason"] for each in said(home, "recovery")] == ["torn", "not-open"]


def test_a_file_that_is_taken_away_comes_back_within_a_second(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            await served.conductor.trail.ledger.durable()
            keeping = asyncio.create_task(served.conductor.trail.ledger.keep())
            path_of(home).unlink()
            await asyncio.sleep(1.3)
            assert path_of(home).exists()
            keeping.cancel()

    live(scenario())
    assert [each["reason"] for each in said(home, "recovery")] == ["unlinked"]


def test_who_hangs_up_leaves_an_outcome(home: Home, socket_path: Path) -> None:
    home.vault.hang("prod/other")
    home.configure(a_bundle(more=""), a_bundle("other", secret="prod/other", more=""))

    async def scenario() -> None:
        async with Served(home, socket_path, ready=False):
            _, stream = await asyncio.open_unix_connection(socket_path)
            stream.write(line("reload"))
            await stream.drain()
            await asyncio.sleep(0.3)
            stream.close()
            await asyncio.sleep(1.5)
            home.vault.open_gate.set()

    live(scenario())
    assert said(home, "reload")[-1].get("reason") == "peer-gone"
