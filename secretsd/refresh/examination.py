"""Examining a source: what it grants and what it sees, with nothing published. The conductor's side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from secretsd.errors import Failure
from secretsd.model import Identity, SecretRef, SourceView
from secretsd.refresh import messages
from secretsd.refresh.workers import WorkerLostError, Workers

# As for a refresh: a worker is killed at 9 s, and begins no call after 7 s.
DEADLINE_S = 9.0
BUDGET_S = 7.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What became of an examination. `lost` says why it did not come to its end; empty if it did."""

    secrets: Mapping[SecretRef, Failure | None]  # None: it can be had
    view: SourceView
    identity: Identity | None = None
    asked: messages.SourceAsked | None = None
    lost: str = ""


async def examine(workers: Workers, job: messages.Examination) -> Findings:
    """Ends within DEADLINE_S; never raises but for cancellation."""
    secrets: dict[SecretRef, Failure | None] = {}
    view, identity, asked, lost = SourceView(), None, None, ""
    try:
        async with asyncio.timeout(DEADLINE_S), workers.worker() as channel:
            await channel.send_job(job)
            lost = "its worker ended before it was done: see journalctl -u secretsd"
            async for message in channel.messages():
                match message:
                    case messages.SecretSeen(ref=ref, failure=failure):
                        secrets[ref] = failure
                    case messages.IdentityResolved(identity=found):
                        identity = found
                    case messages.SourceAsked() as told:
                        asked = told
                    case messages.SourceSeen(view=seen):
                        view, lost = seen, ""
                    case messages.Crashed(exception=exception):
                        lost = f"its worker met a bug: {exception}"
                    case _:
                        raise ValueError("its worker spoke of what it was not asked for")
    except TimeoutError:
        lost = f"it did not answer within {DEADLINE_S:.0f} s"
    except (WorkerLostError, ValueError, OSError) as error:
        lost = str(error) or type(error).__name__
    return Findings(secrets, view, identity, asked, lost)
