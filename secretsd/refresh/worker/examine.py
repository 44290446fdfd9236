"""Asks a source for secrets to see whether it would give them, in a worker: what comes dies with it."""

from __future__ import annotations

import time
from typing import BinaryIO

from secretsd.model import SourceView
from secretsd.refresh import messages
from secretsd.refresh.sources import registry
from secretsd.refresh.sources.interface import FetchFailure, RemoteSource


def examine(job: messages.Examination, writer: BinaryIO) -> None:
    """Writes a message for each secret, and one for the source. Blocks until done."""

    def send(message: messages.WorkerMessage) -> None:
        writer.write(messages.encode_message(message))
        writer.flush()

    source = registry.open_source(job.name, job.source)
    for result in source.fetch(job.refs, deadline=time.monotonic() + job.budget_s):
        failure = result.failure if isinstance(result, FetchFailure) else None
        send(messages.SecretSeen(result.ref, failure))
    if not isinstance(source, RemoteSource):
        send(messages.SourceSeen(SourceView()))
        return
    if source.identity not in (None, job.source.identity):
        send(messages.IdentityResolved(job.name, source.identity))
    send(messages.SourceAsked(job.name, source.calls, source.endpoints, source.view.skew_s))
    send(messages.SourceSeen(source.view))
