"""One round: a worker that brings a set of bundles up to date, and what each bundle came to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from secretsd.config.models import Bundle, Config
from secretsd.errors import Failure, FailureClass
from secretsd.model import Candidate, PublishRecord, Rejected, SealedHeader, SecretRead, SecretRef
from secretsd.refresh import messages
from secretsd.refresh.examination import BUDGET_S, Findings, examine
from secretsd.refresh.plan import Anew, RestoreBundle, UnsealBundle
from secretsd.refresh.source_book.book import SourceBook, Terms
from secretsd.refresh.workers import WorkerChannel, WorkerLostError, Workers

log = logging.getLogger(__name__)

# No fetch lasts longer than 10 s: a worker is killed at 9 s, and begins no call after 7 s.
WORKER_DEADLINE_S = 9.0
_WORKER_BUDGET_S = 7.0

Result = Candidate | tuple[Failure, ...]
_ANY_TERMS = Terms()
HearReads = Callable[[str, Sequence[SecretRead]], None]


def _nobody(_source: str, _reads: Sequence[SecretRead]) -> None: ...


class Audience(Protocol):
    """Who decides what a round does, and hears what came of it."""

    async def on_prepared(self, candidate: Candidate) -> messages.Verdict:
        """What is to be done with the candidate."""

    async def on_opened(self, candidate: Candidate) -> None:
        """A sealed copy was opened and is about to be published."""

    async def on_published(self, record: PublishRecord) -> None:
        """A bundle was published; `on_ended` follows, except after a restore."""

    async def on_sealed(self, header: SealedHeader) -> None:
        """A sealed copy was made."""

    async def on_not_sealed(self, name: str, failure: Failure) -> None:
        """A sealed copy could not be made."""

    async def on_not_restored(self, name: str, failure: Failure) -> None:
        """A bundle could not be shown anew from a copy."""

    async def on_ended(self, name: str, result: Result) -> None:
        """A bundle's part of the round is over; called once for each."""

    def shown(self, name: str) -> PublishRecord | None:
        """What stands in the runtime directory now, for a worker that died before it could tell."""


class Rehearsal:
    """An audience that publishes nothing and keeps what would be."""

    def __init__(self) -> None:
        self.results: dict[str, Candidate | Rejected] = {}

    async def on_prepared(self, candidate: Candidate) -> messages.Verdict:
        return messages.Verdict(candidate.bundle, None)

    async def on_opened(self, _candidate: Candidate) -> None:
        raise AssertionError("a rehearsal opens nothing")

    async def on_sealed(self, _header: SealedHeader) -> None:
        raise AssertionError("a rehearsal seals nothing")

    async def on_not_sealed(self, _name: str, _failure: Failure) -> None:
        raise AssertionError("a rehearsal seals nothing")

    async def on_published(self, _record: PublishRecord) -> None:
        raise AssertionError("a rehearsal publishes nothing")

    async def on_not_restored(self, _name: str, _failure: Failure) -> None:
        raise AssertionError("a rehearsal restores nothing")

    async def on_ended(self, name: str, result: Result) -> None:
        self.results[name] = Rejected(name, result) if isinstance(result, tuple) else result

    def shown(self, _name: str) -> None:
        return None


class Rounds:
    """Knows the sources; otherwise a round leaves nothing behind."""

    def __init__(self, workers: Workers, hear_reads: HearReads = _nobody) -> None:
        """`hear_reads` is told of each secret that a source was asked for, whatever for."""
        self.workers = workers
        self.sources = SourceBook()
        self.lost = 0  # workers that did not end by themselves
        self.hear_reads = hear_reads

    def expect(self, config: Config) -> None:
        """The next rounds are of `config`."""
        self.workers.warm_for({source.type for source in config.sources.values()})
        self.sources.calls.follow(config.sources)

    async def run(
        self, config: Config, bundles: Mapping[str, Bundle], audience: Audience, terms: Terms = _ANY_TERMS
    ) -> None:
        """Refreshes `bundles`, by name, with one worker."""
        await _Round(self, config, bundles, audience, terms).run()

    async def restore(self, config: Config, steps: Mapping[str, Anew], audience: Audience) -> None:
        """Shows bundles anew from the daemon's own copies; `on_ended` is not called."""
        job = messages.Job(
            runtime_dir=str(config.daemon.runtime_dir),
            budget_s=_WORKER_BUDGET_S,
            sources={},
            bundles={name: config.bundles[name] for name in steps},
            restores={name: step for name, step in steps.items() if isinstance(step, RestoreBundle)},
            unseals={name: step for name, step in steps.items() if isinstance(step, UnsealBundle)},
            seal=_seal_place(config),
            foreground=config.foreground,
        )
        unheard = dict(steps)
        try:
            async with asyncio.timeout(WORKER_DEADLINE_S), self.workers.worker() as channel:
                await channel.send_job(job)
                await _hear_restores(channel, unheard, audience)
        except (TimeoutError, WorkerLostError, ValueError, OSError) as error:
            self.lost += 1
            log.error("worker lost", extra={"reason": str(error) or type(error).__name__})
        for name, step in unheard.items():
            record = audience.shown(name)
            if record is not None and record.generation == step.generation:
                await audience.on_published(record)  # the worker died before it could tell
            else:
                await audience.on_not_restored(name, local_failure("the worker that restores it was lost"))

    def job(self, config: Config, bundles: Mapping[str, Bundle], terms: Terms = _ANY_TERMS) -> messages.Job:
        asked = {secret.ref for bundle in bundles.values() for secret in bundle.secrets}
        return messages.Job(
            runtime_dir=str(config.daemon.runtime_dir),
            budget_s=_WORKER_BUDGET_S,
            sources={ref.source: self.sources.job(config, ref.source, asked, terms) for ref in asked},
            bundles=dict(bundles),
            restores={},
            seal=_seal_place(config),
            foreground=config.foreground,
        )

    async def examine(self, config: Config, source: str) -> Findings:
        """What `source` grants of all that the bundles want of it; publishes nothing."""
        refs = tuple(_refs(config.bundles, source))
        job = self.sources.job(config, source, refs, Terms(by_hand=True))
        found = await examine(self.workers, messages.Examination(source, job, refs, BUDGET_S))
        reads = (SecretRead(ref, failure=failure) for ref, failure in found.secrets.items())
        self.hear_reads(source, tuple(reads))
        if found.identity is not None:
            self.sources.keep_identity(config, source, found.identity)
        if found.asked is not None:
            self.sources.heard(config, found.asked)
        return found


def _refs(bundles: Mapping[str, Bundle], source: str) -> list[SecretRef]:
    wanted = (secret.ref for bundle in bundles.values() for secret in bundle.secrets)
    return list(dict.fromkeys(ref for ref in wanted if ref.source == source))


def _seal_place(config: Config) -> messages.SealPlace | None:
    daemon = config.daemon
    if daemon.seal_key is None:
        return None
    return messages.SealPlace(str(daemon.state_dir), daemon.seal_key, daemon.seal_counter)


async def _hear_restores(channel: WorkerChannel, unheard: dict[str, Anew], audience: Audience) -> None:
    async for message in channel.messages():
        match message:
            case messages.Prepared(candidate=candidate) if candidate.bundle in unheard:
                await audience.on_opened(candidate)
                number = unheard[candidate.bundle].generation
                await channel.send_verdict(messages.Verdict(candidate.bundle, number))
            case messages.Failed(rejected=Rejected(bundle=name, failures=[failure, *_])) if name in unheard:
                del unheard[name]
                await audience.on_not_restored(name, failure)
            case messages.Published(record=record) if record.bundle in unheard:
                del unheard[record.bundle]
                await audience.on_published(record)
            case messages.PublishFailed(bundle=name, failure=failure) if name in unheard:
                del unheard[name]
                await audience.on_not_restored(name, failure)
            case messages.Crashed(exception=exception):
                raise WorkerLostError(f"its worker met a bug: {exception}")
            case _:
                raise ValueError("its worker spoke of what it was not asked for")


class _Round:
    """The bundles of one worker."""

    def __init__(
        self,
        rounds: Rounds,
        config: Config,
        bundles: Mapping[str, Bundle],
        audience: Audience,
        terms: Terms,
    ) -> None:
        self._rounds = rounds
        self._config = config
        self._bundles = bundles
        self._open = dict.fromkeys(bundles)
        self._job = rounds.job(config, bundles, terms)
        self._unread = {name: _refs(bundles, name) for name in self._job.sources}
        self._came: dict[SecretRef, str] = {}  # to its version
        self._unheard = {name: job.route for name, job in self._job.sources.items() if job.route.stops}
        self._audience = audience
        self._publishing: dict[str, tuple[int, Candidate]] = {}  # with the generation it is to become
        self._sealing: set[str] = set()
        self._is_deciding = False  # the worker waits for us, and no source keeps us waiting

    async def run(self) -> None:
        lost = local_failure("its worker ended before it was done")
        try:
            async with asyncio.timeout(WORKER_DEADLINE_S), self._rounds.workers.worker() as channel:
                await channel.send_job(self._job)
                await self._converse(channel)
        except TimeoutError:
            lost = self._overdue()
        except (WorkerLostError, ValueError, OSError) as error:
            lost = local_failure(str(error) or type(error).__name__)
            log.error("worker lost", extra={"reason": lost.message})
        finally:
            self._tell_unread(lost)
        self._rounds.lost += bool(self._open)
        for name in list(self._open):
            if not await self._end_if_shown(name):
                await self._end(name, (lost,))
        for name in self._sealing:
            await self._audience.on_not_sealed(name, local_failure("its worker was lost as it sealed"))

    def _overdue(self) -> Failure:
        """What took the time; where that is a source, it is said of its endpoint, too."""
        if self._is_deciding:
            log.error("this host is too slow for a round", extra={"reason": SLOW_HOST.message})
            return SLOW_HOST
        for source, route in self._unheard.items():
            # A probe comes last: once every bundle has its answer, nothing else can hang.
            silent = route.probe if route.probe is not None and not self._open else route.stops[0]
            self._rounds.sources.lost(self._config, source, silent.endpoint)
        return OVERDUE

    def _tell_unread(self, lost: Failure) -> None:
        """What sources gave whose end the worker did not live to tell."""
        for source, refs in self._unread.items():
            came = (self._came.get(ref) for ref in refs)
            reads = [
                SecretRead(ref, failure=lost) if version is None else SecretRead(ref, version)
                for ref, version in zip(refs, came, strict=True)
            ]
            self._rounds.hear_reads(source, reads)

    async def _end_if_shown(self, name: str) -> bool:
        """Whether the worker had shown the bundle before it died without a word."""
        generation, candidate = self._publishing.pop(name, (None, None))
        record = self._audience.shown(name) if candidate is not None else None
        if candidate is None or record is None or record.generation != generation:
            return False
        await self._audience.on_published(record)
        await self._end(name, candidate)
        return True

    async def _converse(self, channel: WorkerChannel) -> None:
        async for message in channel.messages():
            self._is_deciding = True
            await self._hear(channel, message)
            self._is_deciding = False

    async def _hear(self, channel: WorkerChannel, message: messages.WorkerMessage) -> None:
        match message:
            case messages.IdentityResolved() | messages.SourceAsked() | messages.SourceRead() as told if (
                told.source in self._job.sources
            ):
                self._hear_of_source(told)
            case messages.Prepared(candidate=candidate) if candidate.bundle in self._open:
                await self._answer(channel, candidate)
            case messages.Failed(rejected=Rejected(bundle=name, failures=failures)) if (
                name in self._open and failures
            ):
                await self._end(name, failures)
            case messages.Published(record=record) if record.bundle in self._publishing:
                await self._audience.on_published(record)
                await self._end(record.bundle, self._publishing.pop(record.bundle)[1])
            case messages.PublishFailed(bundle=name, failure=failure) if name in self._publishing:
                del self._publishing[name]
                await self._end(name, (failure,))
            case messages.Sealed() | messages.NotSealed() as told if told.bundle in self._sealing:
                self._sealing.discard(told.bundle)
                await self._hear_of_sealing(told)
            case messages.Crashed(exception=exception):
                raise WorkerLostError(f"its worker met a bug: {exception}")
            case _:
                raise ValueError("its worker spoke of what it was not asked for")

    def _hear_of_source(
        self, told: messages.IdentityResolved | messages.SourceAsked | messages.SourceRead
    ) -> None:
        match told:
            case messages.IdentityResolved(source=source, identity=identity):
                self._rounds.sources.keep_identity(self._config, source, identity)
            case messages.SourceAsked(source=source):
                self._unheard.pop(source, None)
                self._rounds.sources.heard(self._config, told)
            case messages.SourceRead(source=source, reads=reads):
                self._unread.pop(source, None)
                self._rounds.hear_reads(source, reads)

    async def _hear_of_sealing(self, told: messages.Sealed | messages.NotSealed) -> None:
        if isinstance(told, messages.Sealed):
            await self._audience.on_sealed(told.header)
        else:
            await self._audience.on_not_sealed(told.bundle, told.failure)

    async def _answer(self, channel: WorkerChannel, candidate: Candidate) -> None:
        verdict = await self._audience.on_prepared(candidate)
        if verdict.generation is not None:
            self._publishing[candidate.bundle] = (verdict.generation, candidate)
        if verdict.seal is not None:
            self._sealing.add(candidate.bundle)
        await channel.send_verdict(verdict)
        if verdict.generation is None:
            await self._end(candidate.bundle, candidate)

    async def _end(self, name: str, result: Result) -> None:
        del self._open[name]
        if isinstance(result, Candidate):
            self._came |= {version.ref: version.version_id for version in result.versions}
        self._rounds.sources.learn(self._bundles[name], result)
        await self._audience.on_ended(name, result)


OVERDUE = Failure(
    code="no-answer",
    failure_class=FailureClass.TRANSIENT,
    message=f"the source did not answer within {WORKER_DEADLINE_S:.0f} s",
    advice="check the network path and the endpoint of its source; it is tried again by itself",
)


SLOW_HOST = Failure(
    code="host-too-slow",
    failure_class=FailureClass.IO,
    message=f"this host did not do its part of a refresh within {WORKER_DEADLINE_S:.0f} s",
    advice="look at the disk of state_dir, which may hang: dmesg, iostat; it is tried again by itself",
)


def local_failure(what: str) -> Failure:
    return Failure(
        code="worker-lost",
        failure_class=FailureClass.IO,
        message=f"the bundle was not refreshed: {what}",
        advice="see journalctl -u secretsd, and this host's memory, TasksMax= and LimitNOFILE=",
    )
