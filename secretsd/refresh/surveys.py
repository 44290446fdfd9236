"""The conductor's side of a survey: a worker that looks at one bundle's secrets and says their kinds."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from secretsd.config.models import Bundle, Config
from secretsd.errors import Failure
from secretsd.model import Rejected, Survey
from secretsd.refresh import messages
from secretsd.refresh.rounds import OVERDUE, WORKER_DEADLINE_S, Rounds, local_failure
from secretsd.refresh.source_book.book import Terms
from secretsd.refresh.workers import WorkerChannel, WorkerLostError

log = logging.getLogger(__name__)


async def survey(rounds: Rounds, config: Config, name: str, bundle: Bundle) -> Survey | tuple[Failure, ...]:
    """Fetches the secrets of `bundle`, which need not stand in `config`, from the sources that do.

    Nothing is published, and nothing of this is remembered.
    """
    job = replace(rounds.job(config, {name: bundle}, Terms(by_hand=True)), survey=True)
    try:
        async with asyncio.timeout(WORKER_DEADLINE_S), rounds.workers.worker() as channel:
            await channel.send_job(job)
            return await _hear(channel, rounds, config, job, name)
    except TimeoutError:
        return (OVERDUE,)
    except (WorkerLostError, ValueError, OSError) as error:
        lost = local_failure(str(error) or type(error).__name__)
        log.error("worker lost", extra={"reason": lost.message})
        return (lost,)


async def _hear(
    channel: WorkerChannel, rounds: Rounds, config: Config, job: messages.Job, name: str
) -> Survey | tuple[Failure, ...]:
    async for message in channel.messages():
        match message:
            case messages.IdentityResolved(source=source, identity=identity) if source in job.sources:
                rounds.sources.keep_identity(config, source, identity)
            case messages.SourceAsked(source=source) as told if source in job.sources:
                rounds.sources.heard(config, told)
            case messages.SourceRead(source=source, reads=reads) if source in job.sources:
                rounds.hear_reads(source, reads)
            case messages.Surveyed(survey=found) if found.bundle == name:
                return found
            case messages.Failed(rejected=Rejected(bundle=bundle, failures=failures)) if (
                bundle == name and failures
            ):
                return failures
            case messages.Crashed(exception=exception):
                raise WorkerLostError(f"its worker met a bug: {exception}")
            case _:
                raise ValueError("its worker spoke of what it was not asked for")
    raise WorkerLostError("its worker ended before it was done")
