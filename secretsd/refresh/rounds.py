"""One round: the workers that bring a set of bundles up to date, and what each bundle came to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from secretsd.config.models import Config
from secretsd.errors import Failure, FailureClass
from secretsd.model import Candidate, CloudIdentity, PublishRecord, Rejected, SecretRef
from secretsd.refresh import messages
from secretsd.refresh.identity import needs_refresh
from secretsd.refresh.workers import WorkerChannel, WorkerLostError, Workers

# No fetch lasts longer than 10 s: a worker is killed at 9 s, and begins no call after 7 s.
_WORKER_DEADLINE_S = 9.0
_WORKER_BUDGET_S = 7.0

Decide = Callable[[Candidate], Awaitable[int | None]]  # the generation to publish a candidate as, or None


@dataclass(slots=True)
class RoundResult:
    """What each bundle came to; every bundle of the round is in `candidates` or in `failures`."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    failures: dict[str, tuple[Failure, ...]] = field(default_factory=dict)


class Rounds:
    """Knows the identities and what each source granted; otherwise a round leaves nothing behind."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._identities: dict[str, CloudIdentity] = {}
        self._granted: dict[str, set[SecretRef]] = {}

    async def run(
        self,
        config: Config,
        names: Iterable[str],
        *,
        decide: Decide,
        on_published: Callable[[PublishRecord], None],
        on_result: Callable[[str, Candidate | tuple[Failure, ...]], Awaitable[None]],
    ) -> None:
        """Refreshes the bundles `names`; `on_result` is called once for each of them.

        Bundles that share no source do not share a worker, so that a source that hangs holds up only its own.
        """
        groups: dict[frozenset[str], list[str]] = {}
        for name in names:
            sources = frozenset(secret.source for secret in config.bundles[name].secrets)
            groups.setdefault(sources, []).append(name)
        await asyncio.gather(
            *(
                _Group(self, config, sources, members, decide, on_published, on_result).run()
                for sources, members in groups.items()
            )
        )

    def job(self, config: Config, sources: frozenset[str], names: list[str]) -> messages.Job:
        bundles = {name: config.bundles[name] for name in names}
        asked = {secret.ref for bundle in bundles.values() for secret in bundle.secrets}
        return messages.Job(
            runtime_dir=str(config.daemon.runtime_dir),
            budget_s=_WORKER_BUDGET_S,
            sources={source: self._source_job(config, source, asked) for source in sources},
            bundles=bundles,
            foreground=config.foreground,
        )

    def _source_job(self, config: Config, source: str, asked: set[SecretRef]) -> messages.SourceJob:
        identity = self._identities.get(source)
        return messages.SourceJob(
            config=config.sources[source],
            identity=identity,
            renew_identity=identity is None or needs_refresh(identity, time.time()),
            others_granted=bool(self._granted.get(source, set()) - asked),
        )

    def keep_identity(self, source: str, identity: CloudIdentity) -> None:
        self._identities[source] = identity

    def learn(self, config: Config, name: str, result: Candidate | tuple[Failure, ...]) -> None:
        """Remembers who was granted what, and drops an identity that the source does not accept."""
        refs = {secret.ref for secret in config.bundles[name].secrets}
        for source in {ref.source for ref in refs}:
            granted = self._granted.setdefault(source, set())
            if isinstance(result, Candidate):
                granted |= {ref for ref in refs if ref.source == source}
        if isinstance(result, tuple):
            self._forget(refs, result)

    def _forget(self, refs: set[SecretRef], failures: tuple[Failure, ...]) -> None:
        for failure in failures:
            for ref in refs:
                if failure.failure_class is FailureClass.IDENTITY:
                    self._identities.pop(ref.source, None)
                if failure.secret in (ref.id, str(ref)):
                    self._granted[ref.source].discard(ref)


class _Group:
    """The bundles of one worker."""

    def __init__(
        self,
        rounds: Rounds,
        config: Config,
        sources: frozenset[str],
        names: list[str],
        decide: Decide,
        on_published: Callable[[PublishRecord], None],
        on_result: Callable[[str, Candidate | tuple[Failure, ...]], Awaitable[None]],
    ) -> None:
        self._rounds = rounds
        self._config = config
        self._sources = sources
        self._open = dict.fromkeys(names)
        self._decide = decide
        self._on_published = on_published
        self._on_result = on_result
        self._publishing: dict[str, Candidate] = {}

    async def run(self) -> None:
        lost = "the worker ended before it was done"
        try:
            async with asyncio.timeout(_WORKER_DEADLINE_S), self._rounds.workers.worker() as channel:
                await channel.send_job(self._rounds.job(self._config, self._sources, list(self._open)))
                await self._converse(channel)
        except TimeoutError:
            lost = f"the source did not answer within {_WORKER_DEADLINE_S:.0f} s"
        except (WorkerLostError, ValueError, OSError) as error:
            lost = str(error) if isinstance(error, WorkerLostError) else lost
        for name in list(self._open):
            await self._end(name, (_lost_failure(name, lost),))

    async def _converse(self, channel: WorkerChannel) -> None:
        async for message in channel.messages():
            match message:
                case messages.IdentityResolved(source=source, identity=identity):
                    self._rounds.keep_identity(source, identity)
                case messages.Prepared(candidate=candidate):
                    await self._answer(channel, candidate)
                case messages.Failed(rejected=Rejected(bundle=name, failures=failures)):
                    await self._end(name, failures)
                case messages.Published(record=record):
                    self._on_published(record)
                    await self._end(record.bundle, self._publishing.pop(record.bundle))
                case messages.PublishFailed(bundle=name, failure=failure):
                    await self._end(name, (failure,))

    async def _answer(self, channel: WorkerChannel, candidate: Candidate) -> None:
        generation = await self._decide(candidate)
        await channel.send_verdict(messages.Verdict(candidate.bundle, generation))
        if generation is None:
            await self._end(candidate.bundle, candidate)
        else:
            self._publishing[candidate.bundle] = candidate

    async def _end(self, name: str, result: Candidate | tuple[Failure, ...]) -> None:
        del self._open[name]
        self._rounds.learn(self._config, name, result)
        await self._on_result(name, result)


def _lost_failure(bundle: str, what: str) -> Failure:
    return Failure(
        code="no-answer",
        failure_class=FailureClass.TRANSIENT,
        message=f"bundle {bundle} was not refreshed: {what}",
        advice="check the network path and the endpoint of its source; it is tried again by itself",
    )
