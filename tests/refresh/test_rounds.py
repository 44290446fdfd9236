"""A round with workers that say what the test wants, and what each bundle comes to."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from secretsd.config.models import Config
from secretsd.errors import Failure, FailureClass
from secretsd.model import Candidate, CloudIdentity, PublishRecord, Rejected, SealedHeader, SecretRef
from secretsd.refresh import messages, rounds
from secretsd.refresh.messages import Job, Verdict, WorkerMessage
from secretsd.refresh.rounds import Result, Rounds
from secretsd.refresh.workers import WorkerLostError, Workers
from tests.refresh.fakes import candidate, failure

Script = Callable[[Job], Iterable[WorkerMessage | float | Exception]]
IDENTITY = CloudIdentity("fake-key", "fake-secret", None, 4e9, "iam-role")


def record(name: str, generation: int = 1) -> PublishRecord:
    return PublishRecord(name, generation, 1.0, 1.0, "d1", (), (), (), ())


def failed(
    name: str, failure_class: FailureClass = FailureClass.TRANSIENT, secret: str = ""
) -> messages.Failed:
    return messages.Failed(Rejected(name, (failure(failure_class, secret=secret or name),)))


class ScriptedWorkers(Workers):
    """Each worker follows `script`: messages to say, seconds to be silent, errors to end with."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.jobs: list[Job] = []
        self.verdicts: list[Verdict] = []
        self.running = 0

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[ScriptedChannel]:  # type: ignore[override]
        self.running += 1
        try:
            yield ScriptedChannel(self)
        finally:
            self.running -= 1


class ScriptedChannel:
    def __init__(self, workers: ScriptedWorkers) -> None:
        self._workers = workers

    async def send_job(self, job: Job) -> None:
        self._job = job
        self._workers.jobs.append(job)

    async def send_verdict(self, verdict: Verdict) -> None:
        self._workers.verdicts.append(verdict)

    async def messages(self) -> AsyncIterator[WorkerMessage]:
        for said in self._workers.script(self._job):
            if isinstance(said, float):
                await asyncio.sleep(said)
            elif isinstance(said, Exception):
                raise said
            else:
                yield said


def configured(tmp_path: Path, **sources: list[str]) -> Config:
    """One bundle for each name, which has one secret of its own name in each of the listed sources."""
    bundles = {
        name: {"secrets": [{"source": s, "id": name, "variable": s.upper()} for s in used]}
        for name, used in sources.items()
    }
    tables = {s: {"type": "aws-secretsmanager"} for used in sources.values() for s in used}
    return Config.model_validate({"daemon": {"runtime_dir": tmp_path}, "sources": tables, "bundles": bundles})


class Results:
    """What a round came to."""

    def __init__(self, generation: int | None = 1) -> None:
        self.generation = generation
        self.results: dict[str, Result] = {}
        self.on_disk: dict[str, PublishRecord] = {}
        self.published: list[PublishRecord] = []
        self.asked: list[str] = []
        self.not_repaired: dict[str, str] = {}
        self.opened: list[Candidate] = []
        self.sealed: list[SealedHeader] = []
        self.not_sealed: dict[str, str] = {}

    async def on_prepared(self, candidate: Candidate) -> Verdict:
        self.asked.append(candidate.bundle)
        return Verdict(candidate.bundle, self.generation)

    async def on_opened(self, candidate: Candidate) -> None:
        self.opened.append(candidate)

    async def on_sealed(self, header: SealedHeader) -> None:
        self.sealed.append(header)

    async def on_not_sealed(self, name: str, failure: Failure) -> None:
        self.not_sealed[name] = failure.code

    async def on_published(self, record: PublishRecord) -> None:
        self.published.append(record)

    async def on_not_restored(self, name: str, failure: Failure) -> None:
        self.not_repaired[name] = failure.code

    async def on_ended(self, name: str, result: Result) -> None:
        assert name not in self.results, "one result for each bundle"
        self.results[name] = result

    def shown(self, name: str) -> PublishRecord | None:
        return self.on_disk.get(name)

    def code(self, name: str) -> str:
        result = self.results[name]
        return result[0].code if isinstance(result, tuple) else "good"

    async def of(self, rounds: Rounds, config: Config) -> Results:
        await rounds.run(config, config.bundles, self)
        return self


def come_to(config: Config, script: Script, generation: int | None = 1) -> Results:
    return asyncio.run(Results(generation).of(Rounds(ScriptedWorkers(script)), config))


def good(job: Job) -> Iterable[WorkerMessage]:
    for name in job.bundles:
        yield messages.Prepared(candidate(name))
        yield messages.Published(record(name))


def test_every_bundle_gets_one_result(tmp_path: Path) -> None:
    config = configured(tmp_path, a=["aws"], b=["aws"], c=["other"])
    found = come_to(config, good)
    assert {name: found.code(name) for name in config.bundles} == {"a": "good", "b": "good", "c": "good"}
    assert len(found.published) == 3


def test_a_worker_that_ends_early_fails_only_what_it_had_not_done(tmp_path: Path) -> None:
    def script(job: Job) -> Iterable[WorkerMessage]:
        return list(good(job))[:2]

    found = come_to(configured(tmp_path, a=["aws"], b=["aws"]), script)
    assert (found.code("a"), found.code("b")) == ("good", "worker-lost")


def test_a_worker_that_hangs_is_ended_at_the_deadline_and_its_bundles_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "WORKER_DEADLINE_S", 0.1)
    workers = ScriptedWorkers(lambda _: [60.0])
    before = time.monotonic()
    found = asyncio.run(Results().of(Rounds(workers), configured(tmp_path, a=["slow"])))
    assert time.monotonic() - before < 2
    assert found.code("a") == "no-answer"
    assert workers.running == 0
    ((lost,),) = [result for result in found.results.values() if isinstance(result, tuple)]
    assert lost.failure_class is FailureClass.TRANSIENT
    assert "did not answer within" in lost.message


class HungDisk(Results):
    """A state directory whose writes do not come back."""

    async def on_prepared(self, candidate: Candidate) -> Verdict:
        await asyncio.sleep(60)
        return await super().on_prepared(candidate)


def test_a_disk_of_this_host_that_hangs_is_not_the_region_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "WORKER_DEADLINE_S", 0.1)
    knows = Rounds(ScriptedWorkers(good))
    found = asyncio.run(HungDisk().of(knows, configured(tmp_path, a=["aws"])))
    assert found.code("a") == "host-too-slow"
    assert knows.sources.breakers == {}, "no endpoint was found silent, and no other region is asked"
    silent = Rounds(ScriptedWorkers(lambda _: [60.0]))
    asyncio.run(Results().of(silent, configured(tmp_path, a=["aws"])))
    assert len(silent.sources.breakers) == 1


@pytest.mark.parametrize(
    "end",
    [
        ValueError("the worker sent a message of unknown shape"),
        OSError(104, "reset"),
        WorkerLostError("the zygote ended"),
    ],
)
def test_a_worker_that_breaks_off_is_this_hosts_trouble_and_not_the_networks(
    tmp_path: Path, end: Exception
) -> None:
    found = come_to(configured(tmp_path, a=["aws"]), lambda _: [end])
    ((lost,),) = [result for result in found.results.values() if isinstance(result, tuple)]
    assert (lost.code, lost.failure_class) == ("worker-lost", FailureClass.IO)
    assert "network" not in lost.advice


def test_a_worker_that_met_a_bug_says_its_type(tmp_path: Path) -> None:
    found = come_to(configured(tmp_path, a=["aws"]), lambda _: [messages.Crashed("KeyError")])
    ((lost,),) = [result for result in found.results.values() if isinstance(result, tuple)]
    assert (lost.code, lost.failure_class) == ("worker-lost", FailureClass.IO)
    assert "KeyError" in lost.message


@pytest.mark.parametrize(
    "said",
    [
        failed("stranger"),
        messages.Prepared(candidate("stranger")),
        messages.Published(record("stranger")),
        messages.Published(record("a")),  # without having been told to
        messages.PublishFailed("stranger", failure()),
        messages.PublishFailed("a", failure()),
        messages.IdentityResolved("stranger", IDENTITY),
    ],
)
def test_a_worker_that_speaks_of_what_it_was_not_asked_for_is_not_believed(
    tmp_path: Path, said: WorkerMessage
) -> None:
    config = configured(tmp_path, a=["aws"], stranger=["other"])
    only_a = Config.model_validate({**dict(config), "bundles": {"a": config.bundles["a"]}})
    found = come_to(only_a, lambda _: [said])
    assert found.code("a") == "worker-lost"
    assert (found.asked, found.published) == ([], [])


def test_a_worker_that_says_a_thing_twice_is_not_believed_twice(tmp_path: Path) -> None:
    found = come_to(
        configured(tmp_path, a=["aws"], b=["aws"]), lambda _: [failed("a"), failed("a"), failed("b")]
    )
    assert (found.code("a"), found.code("b")) == ("fake-transient", "worker-lost")


@pytest.mark.parametrize(("shown", "code"), [(1, "good"), (7, "worker-lost"), (None, "worker-lost")])
def test_a_worker_killed_after_the_swap_has_published_and_one_killed_before_has_not(
    tmp_path: Path, shown: int | None, code: str
) -> None:
    found = Results()
    if shown is not None:
        found.on_disk["a"] = record("a", shown)
    workers = ScriptedWorkers(lambda _: [messages.Prepared(candidate("a"))])
    asyncio.run(found.of(Rounds(workers), configured(tmp_path, a=["aws"])))
    assert found.code("a") == code
    assert found.published == ([record("a")] if code == "good" else [])


def test_what_the_plan_leaves_is_good_without_a_publish(tmp_path: Path) -> None:
    def script(job: Job) -> Iterable[WorkerMessage]:
        return [messages.Prepared(candidate("a"))]

    found = come_to(configured(tmp_path, a=["aws"]), script, generation=None)
    assert found.code("a") == "good"


def test_a_publish_that_failed_is_the_bundles_failure(tmp_path: Path) -> None:
    def script(job: Job) -> Iterable[WorkerMessage]:
        return [messages.Prepared(candidate("a")), messages.PublishFailed("a", failure(FailureClass.IO))]

    assert come_to(configured(tmp_path, a=["aws"]), script).code("a") == "fake-io"


def test_role_credentials_are_handed_to_the_next_worker_and_dropped_when_refused(tmp_path: Path) -> None:
    config = configured(tmp_path, a=["aws"])
    scripts: list[Script] = [
        lambda job: [messages.IdentityResolved("aws", IDENTITY), *good(job)],
        lambda _: [failed("a", FailureClass.TRANSIENT)],
        lambda _: [failed("a", FailureClass.IDENTITY)],
        good,
    ]

    def next_script(job: Job) -> Iterable[WorkerMessage | float | Exception]:
        return scripts.pop(0)(job)

    workers = ScriptedWorkers(next_script)
    kept = Rounds(workers)
    for _ in range(4):
        asyncio.run(Results().of(kept, config))
    given = [(job.sources["aws"].identity, job.sources["aws"].renew_identity) for job in workers.jobs]
    assert given == [(None, True), (IDENTITY, False), (IDENTITY, False), (None, True)]


def test_a_token_of_another_login_is_not_handed_on_after_a_reload(tmp_path: Path) -> None:
    before = configured(tmp_path, a=["aws"])
    other = before.sources["aws"].model_copy(update={"region": "eu-west-1"})
    after = before.model_copy(update={"sources": {**before.sources, "aws": other}})
    workers = ScriptedWorkers(good)
    kept = Rounds(workers)
    kept.sources.keep_identity(before, "aws", IDENTITY)
    for config in (before, after, before):
        asyncio.run(Results().of(kept, config))
    given = [job.sources["aws"].identity for job in workers.jobs]
    assert given == [IDENTITY, None, IDENTITY]


def test_credentials_near_their_end_are_renewed_while_they_still_serve(tmp_path: Path) -> None:
    config = configured(tmp_path, a=["aws"])
    workers = ScriptedWorkers(good)
    kept = Rounds(workers)
    ending = CloudIdentity("fake-key", "fake-secret", None, time.time() + 60, "iam-role")
    kept.sources.keep_identity(config, "aws", ending)
    asyncio.run(Results().of(kept, config))
    source = workers.jobs[0].sources["aws"]
    assert (source.identity, source.renew_identity) == (ending, True)


def test_a_denial_can_be_told_from_a_lost_identity_by_what_else_was_granted(tmp_path: Path) -> None:
    both = configured(tmp_path, a=["aws"], b=["aws"])
    only_b = Config.model_validate({**dict(both), "bundles": {"b": both.bundles["b"]}})
    workers = ScriptedWorkers(good)
    kept = Rounds(workers)

    def witness(config: Config) -> SecretRef | None:
        asyncio.run(Results().of(kept, config))
        return workers.jobs[-1].sources["aws"].witness

    assert witness(both) is None
    assert witness(both) is None, "it asks for everything that was granted"
    assert witness(only_b) == both.bundles["a"].secrets[0].ref, "a was granted before"
    workers.script = lambda job: [failed(name, FailureClass.REFUSAL) for name in job.bundles]
    witness(both)
    assert witness(only_b) is None, "a was refused meanwhile"
