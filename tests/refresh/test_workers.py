"""Real zygotes and real workers, as the conductor starts them, against a Secrets Manager on loopback."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secretsd.config.sources import AwsSecretsManager
from secretsd.refresh import child, messages, workers
from secretsd.refresh.messages import Job, SourceJob
from secretsd.refresh.workers import WorkerChannel, WorkerLostError, Workers
from tests.canary.memory import Process
from tests.canary.spellings import MARKER, needles
from tests.canary.tally import Tally
from tests.refresh.fakes import bundle, prepare
from tests.refresh.sources.scripted_aws import Answer, ScriptedAws, entry, ok


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAws]:
    """What the zygote's environment leads to; nothing of this machine's own AWS is in reach."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-key")
    server = ScriptedAws()
    yield server
    server.close()


@pytest.fixture
def job(tmp_path: Path, aws: ScriptedAws) -> Job:
    prepare(tmp_path / "run")
    config = AwsSecretsManager(type="aws-secretsmanager", region="us-east-1", endpoint_url=aws.url)
    source = SourceJob(config, renew_identity=True)
    return Job(str(tmp_path / "run"), 5.0, {"aws": source}, {"bot": bundle()}, {}, foreground=True)


async def refreshed(channel: WorkerChannel, job: Job, generation: int | None = 1) -> list[str]:
    await channel.send_job(job)
    kinds = []
    async for message in channel.messages():
        if not isinstance(message, messages.SourceAsked | messages.SourceRead):
            kinds.append(message.kind)
        if isinstance(message, messages.Prepared):
            await channel.send_verdict(messages.Verdict(message.candidate.bundle, generation))
        if isinstance(message, messages.Failed):
            kinds.append(message.rejected.failures[0].code)
    return kinds


def a_pool() -> Workers:
    """As the conductor has it for the job's source: a worker that had to import the SDK would be slow."""
    pool = Workers()
    pool.warm_for({"aws-secretsmanager"})
    return pool


def zygote_of(pool: Workers) -> int:
    assert pool._process is not None
    return pool._process.pid


def has_ended(pidfd: int, within_s: float = 5.0) -> bool:
    return bool(select.select([pidfd], [], [], within_s)[0])


def test_the_whole_way_through_real_processes_and_a_zygote_that_dies_in_between(
    job: Job, aws: ScriptedAws, tmp_path: Path
) -> None:
    aws.answer_in_turn(ok(entry("prod/bot", f'{{"TOKEN": "{MARKER}"}}')))

    async def scenario() -> None:
        pool = a_pool()
        async with pool.worker() as channel:
            assert await refreshed(channel, job) == ["prepared", "published"]
        first = zygote_of(pool)
        assert (tmp_path / "run" / "bot" / "env").read_text() == f"TOKEN='{MARKER}'\n"
        async with pool.worker() as channel:
            assert await refreshed(channel, job, None) == ["prepared"]
        assert zygote_of(pool) == first, "a warm zygote is used again"

        os.kill(first, signal.SIGKILL)
        async with pool.worker() as channel:
            assert await refreshed(channel, job, 2) == ["prepared", "published"]
        second = zygote_of(pool)
        assert second != first
        pidfd = os.pidfd_open(second)
        await pool.close()
        assert has_ended(pidfd)
        os.close(pidfd)

    asyncio.run(scenario())


def test_another_type_of_source_gets_a_zygote_that_is_warm_for_it_once_no_worker_would_die(
    job: Job, aws: ScriptedAws
) -> None:
    aws.answer_in_turn(ok(entry("prod/bot", f'{{"TOKEN": "{MARKER}"}}')))

    async def scenario() -> None:
        pool = a_pool()
        async with pool.worker() as busy:
            first = zygote_of(pool)
            pool.warm_for({"aws-secretsmanager", "aws-ssm"})
            async with pool.worker() as channel:
                assert await refreshed(channel, job, None) == ["prepared"]
            assert zygote_of(pool) == first, "the worker that runs would have died with it"
            assert await refreshed(busy, job, None) == ["prepared"]
        async with pool.worker() as channel:
            assert await refreshed(channel, job, None) == ["prepared"]
        second = zygote_of(pool)
        assert second != first
        pool.warm_for({"aws-ssm"})
        async with pool.worker() as channel:
            assert await refreshed(channel, job, None) == ["prepared"]
        assert zygote_of(pool) == second, "it is warm for that, too"
        await pool.close()

    asyncio.run(scenario())


def test_a_worker_that_hangs_dies_at_the_deadline_and_the_zygote_lives(job: Job, aws: ScriptedAws) -> None:
    aws.answer_in_turn(
        ok(entry("prod/bot", '{"TOKEN": "x"}'), delay_s=5.0), ok(entry("prod/bot", '{"TOKEN": "x"}'))
    )

    async def scenario() -> None:
        pool = a_pool()
        async with pool.worker():
            pass  # the zygote is warm now
        before = time.monotonic()
        async with pool.worker() as channel:
            pidfd = os.dup(channel._pidfd)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(refreshed(channel, job), 0.3)
        assert has_ended(pidfd, within_s=0)
        assert time.monotonic() - before < 3.0
        os.close(pidfd)
        zygote = zygote_of(pool)
        async with pool.worker() as channel:
            assert await refreshed(channel, job) == ["prepared", "published"]
        assert zygote_of(pool) == zygote
        await pool.close()

    asyncio.run(scenario())


def test_a_body_that_was_made_to_be_huge_does_not_grow_the_worker_past_its_limit(
    job: Job, aws: ScriptedAws
) -> None:
    huge = Answer(200, b'{"SecretString":"' + b"x" * (200 << 20) + b'"}')
    aws.answer_in_turn(huge)

    async def scenario() -> None:
        pool = a_pool()
        async with asyncio.timeout(8), pool.worker() as channel:
            kinds = await refreshed(channel, job)
        assert "prepared" not in kinds
        assert len(kinds) == 2, "one failure, told by the worker itself"
        await pool.close()

    asyncio.run(scenario())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: reads another process's memory")
def test_no_secret_stays_in_the_zygote(job: Job, aws: ScriptedAws) -> None:
    # Not the conductor: that is this process, where the fake AWS itself holds the secret.
    aws.answer_in_turn(ok(entry("prod/bot", f'{{"TOKEN": "{MARKER}"}}')))

    async def scenario() -> None:
        pool = a_pool()
        for _ in range(3):
            async with pool.worker() as channel:
                assert await refreshed(channel, job, None) == ["prepared"]
        zygote = Process(zygote_of(pool), "zygote")
        assert list(zygote.traces(needles("secretsd.refresh.worker.zygote"), Tally())), "the scan is blind"
        assert list(zygote.traces(needles(), Tally())) == []
        await pool.close()

    asyncio.run(scenario())


def test_a_pattern_that_takes_for_ever_fails_its_own_bundle_and_its_neighbours_go_on(
    job: Job, aws: ScriptedAws, tmp_path: Path
) -> None:
    evil = bundle(
        secrets=[{"source": "aws", "id": "evil", "variable": "URL"}],
        variables={"URL": {"pattern": "(a+)+"}},
    )
    bundles = {"a": bundle(), "evil": evil, "z": bundle()}
    aws.answer_in_turn(
        ok(
            {
                "SecretValues": [entry("prod/bot", '{"TOKEN": "x"}'), entry("evil", "a" * 60 + "!")],
                "Errors": [],
            }
        )
    )

    async def scenario() -> None:
        pool = a_pool()
        async with asyncio.timeout(8), pool.worker() as channel:
            before = time.monotonic()
            said = await refreshed(channel, replace(job, bundles=bundles))
            assert 1.5 < time.monotonic() - before < 4.0
        assert sorted(said) == sorted(["prepared", "published"] * 2 + ["failed", "too-slow"])
        assert (tmp_path / "run" / "z" / "env").exists()
        assert not (tmp_path / "run" / "evil").exists()
        await pool.close()

    asyncio.run(scenario())


def test_a_zygote_that_cannot_start_is_an_error_and_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_BOOT", "raise SystemExit(3)")

    async def scenario() -> None:
        pool = a_pool()
        with pytest.raises(WorkerLostError, match="does not start"):
            async with asyncio.timeout(5), pool.worker():
                pass
        await pool.close()

    asyncio.run(scenario())


def test_a_zygote_that_says_nothing_is_killed_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_BOOT", "import time; time.sleep(60)")
    monkeypatch.setattr(workers, "_ZYGOTE_START_S", 0.05)

    async def scenario() -> None:
        pool = a_pool()
        before = time.monotonic()
        with pytest.raises(WorkerLostError):
            async with pool.worker():
                pass
        assert time.monotonic() - before < 2.0
        assert pool._process is None
        await pool.close()

    asyncio.run(scenario())


def test_giving_up_while_a_zygote_starts_leaves_no_process_and_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "_BOOT", "import time; time.sleep(60)")

    async def scenario() -> None:
        pool = a_pool()
        await asyncio.to_thread(time.monotonic)  # the loop's own descriptors are open now
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), pool.worker():
                    pass
        assert pool._process is None
        assert len(os.listdir("/proc/self/fd")) <= before
        await pool.close()

    asyncio.run(scenario())


def test_workers_that_are_asked_for_together_share_one_zygote(job: Job, aws: ScriptedAws) -> None:
    aws.answer_in_turn(ok(entry("prod/bot", '{"TOKEN": "x"}')))

    async def scenario() -> None:
        pool = a_pool()

        async def one() -> tuple[int, list[str]]:
            async with pool.worker() as channel:
                return zygote_of(pool), await refreshed(channel, job, None)

        found = await asyncio.gather(*(one() for _ in range(4)))
        assert len({zygote for zygote, _ in found}) == 1
        assert all(kinds == ["prepared"] for _, kinds in found)
        await pool.close()

    asyncio.run(scenario())
