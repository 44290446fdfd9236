"""One refresh: fetch, validate, render, publish, seal. Runs in a process of its own that then dies.

Nothing that holds a value leaves: the conductor gets names, version ids, keyed digests and failures.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from secretsd.config.models import Bundle
from secretsd.errors import Failure, FailureClass, FailureError
from secretsd.model import Candidate, FetchedSecret, Rejected, SecretRead, SecretRef, SecretVersion, Unsealed
from secretsd.refresh import messages
from secretsd.refresh.files import published
from secretsd.refresh.files.publish import (
    Owner,
    RenderedFile,
    content_digest,
    io_failure,
    publish,
    variable_digests,
)
from secretsd.refresh.sources import registry
from secretsd.refresh.sources.interface import FetchFailure, RemoteSource
from secretsd.refresh.worker.examine import examine
from secretsd.refresh.worker.rendering import RejectedError, owner_of, render_all
from secretsd.refresh.worker.survey import survey
from secretsd.refresh.worker.validate import validate

# Its rules are the operator's, its values anybody's: one bundle's pattern must not use up the others' time.
_BUNDLE_S = 2.0


def run(channel: socket.socket) -> None:
    """Reads one job from `channel`, does it, and answers as it goes. Blocks until done."""
    with channel.makefile("rb") as reader, channel.makefile("wb") as writer:
        job = messages.read_job(reader)
        try:
            if isinstance(job, messages.Examination):
                examine(job, writer)
                return
            refresh = _Refresh(job, reader, writer)
            refresh.run()
            refresh.restore()
            refresh.unseal()
            refresh.seal()
        except Exception as error:  # noqa: BLE001 - nothing else would say that there is a bug
            writer.write(messages.encode_message(messages.Crashed(type(error).__name__)))
            writer.flush()


@dataclass(frozen=True, slots=True)
class _Material:
    """What a bundle is made of; `copy_of` and `unsealed` where it comes from a sealed copy."""

    fetched: Mapping[SecretRef, FetchedSecret]
    copy_of: int | None = None
    unsealed: Unsealed | None = None


class _TooSlowError(Exception):
    """A bundle took longer than its share."""


def obey_alarm() -> None:
    """Lets the alarm of `_finish` end what takes too long; for the main thread of a worker's process."""

    def too_slow(_number: int, _frame: object) -> None:
        raise _TooSlowError

    signal.signal(signal.SIGALRM, too_slow)


class _Refresh:
    """The bundles of one job on their way."""

    def __init__(self, job: messages.Job, reader: BinaryIO, writer: BinaryIO) -> None:
        self.job = job
        self.reader = reader
        self.writer = writer
        self.results: dict[SecretRef, FetchedSecret | FetchFailure] = {}
        self.deadline = time.monotonic() + job.budget_s
        self.sealing: list[tuple[str, messages.SealOrder, _Material]] = []
        self.waiting = {
            name: {secret.ref for secret in bundle.secrets}
            for name, bundle in job.bundles.items()
            if name not in job.restores and name not in job.unseals
        }

    def run(self) -> None:
        """A bundle goes on as soon as its last secret is in, so that a slow batch holds up only its own."""
        finish = self._survey if self.job.survey else self._finish
        for result in self._fetch_all():
            self.results[result.ref] = result
            for name in [name for name, refs in self.waiting.items() if refs <= self.results.keys()]:
                del self.waiting[name]
                finish(name, self.job.bundles[name])

    def restore(self) -> None:
        """Shows bundles again from the daemon's own copies of what was published."""
        runtime_dir = Path(self.job.runtime_dir)
        for name, step in self.job.restores.items():
            try:
                record, files = published.read_copy(runtime_dir, name, step.copy_of)
                owner = owner_of(self.job.bundles[name], foreground=self.job.foreground)
            except FailureError as error:
                self._send(messages.PublishFailed(name, error.failure))
                continue
            candidate = Candidate(
                bundle=name,
                digest=record.digest,
                versions=record.versions,
                variables=record.variables,
                defaults=record.defaults,
                ignored={},
                variable_digests=record.variable_digests,
                copy_of=record.copy_of or step.copy_of,
                unsealed=record.unsealed,
            )
            self._publish(candidate, step.generation, files, owner)

    def unseal(self) -> None:
        """Publishes bundles from their sealed copies, the ordinary way but for where they come from."""
        for name, step in self.job.unseals.items():
            bundle = self.job.bundles[name]
            self._make(name, bundle, partial(self._opened, name, bundle, step.copy_of))

    def _fetch_all(self) -> Iterator[FetchedSecret | FetchFailure]:
        for name, source_job in self.job.sources.items():
            wanted = {s.ref: None for b in self.job.bundles.values() for s in b.secrets if s.source == name}
            refs = list(wanted)
            source = registry.open_source(name, source_job)
            try:
                yield from source.fetch(refs, deadline=self.deadline)
            except MemoryError:
                yield from (FetchFailure(ref, _too_big(ref)) for ref in refs if ref not in self.results)
            self._send(messages.SourceRead(name, tuple(_read(self.results[ref]) for ref in refs)))
            if isinstance(source, RemoteSource):
                self._tell_of(name, source, source_job)

    def _tell_of(self, name: str, source: RemoteSource, job: messages.SourceJob) -> None:
        if source.identity is not None and source.identity != job.identity:
            self._send(messages.IdentityResolved(name, source.identity))
        self._send(messages.SourceAsked(name, source.calls, source.endpoints, source.view.skew_s))

    def _finish(self, name: str, bundle: Bundle) -> None:
        self._make(name, bundle, lambda: _Material(self._fetched(bundle)))

    def _make(self, name: str, bundle: Bundle, get: Callable[[], _Material]) -> None:
        signal.setitimer(signal.ITIMER_REAL, _BUNDLE_S)
        try:
            material = get()
            candidate, files, owner = self._prepare(name, bundle, material)
        except _TooSlowError:
            self._send(messages.Failed(Rejected(name, (_slow_failure(name),))))
            return
        except FailureError as error:
            self._send(messages.Failed(Rejected(name, (error.failure,))))
            return
        except RejectedError as error:
            self._send(messages.Failed(Rejected(name, error.failures)))
            return
        except Exception as error:  # noqa: BLE001 - one bundle's bug must not stop the others
            self._send(messages.Failed(Rejected(name, (_bug(name, error),))))
            return
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._send(messages.Prepared(candidate))
        verdict = messages.decode_verdict(self.reader.readline())
        if verdict.generation is not None and not self._publish(candidate, verdict.generation, files, owner):
            return
        if verdict.seal is not None:
            self.sealing.append((name, verdict.seal, material))

    def seal(self) -> None:
        """Last, when every bundle is shown: a disk that is full, or hangs, then holds up none.

        What a slow disk leaves no time for is ordered again in the next round.
        """
        for name, order, material in self.sealing:
            is_in_time = time.monotonic() < self.deadline
            self._send(
                self._sealed(name, order, material)
                if is_in_time
                else messages.NotSealed(name, _no_time_to_seal(name))
            )

    def _sealed(
        self, name: str, order: messages.SealOrder, material: _Material
    ) -> messages.Sealed | messages.NotSealed:
        # Here, not above: few hosts have sealed copies, and the rest need not carry a cryptographic library.
        from secretsd.refresh.sealed import copies

        try:
            if order.is_renewal:
                header = copies.renew(self._seal_place(), name, order.generation, now=time.time())
            else:
                fetched = material.fetched.values()
                header = copies.make(self._seal_place(), name, order.generation, fetched, now=time.time())
        except FailureError as error:
            return messages.NotSealed(name, error.failure)
        return messages.Sealed(header)

    def _opened(self, name: str, bundle: Bundle, generation: int) -> _Material:
        """Raises: FailureError."""
        from secretsd.refresh.sealed import copies  # as above

        opened = copies.take(self._seal_place(), name, bundle, generation, now=time.time())
        return _Material(opened.fetched, opened.generation, opened.unsealed)

    def _seal_place(self) -> messages.SealPlace:
        if self.job.seal is None:
            raise ValueError("a job without a place for sealed copies")
        return self.job.seal

    def _survey(self, name: str, bundle: Bundle) -> None:
        try:
            found = messages.Surveyed(survey(name, bundle, self._fetched(bundle)))
        except RejectedError as error:
            self._send(messages.Failed(Rejected(name, error.failures)))
        except Exception as error:  # noqa: BLE001 - its text may quote a value
            self._send(messages.Failed(Rejected(name, (_bug(name, error),))))
        else:
            self._send(found)

    def _fetched(self, bundle: Bundle) -> dict[SecretRef, FetchedSecret]:
        """Every secret of the bundle. Raises: RejectedError."""
        results = {secret.ref: self.results[secret.ref] for secret in bundle.secrets}
        failures = tuple(result.failure for result in results.values() if isinstance(result, FetchFailure))
        if failures:
            raise RejectedError(failures)
        return {ref: result for ref, result in results.items() if isinstance(result, FetchedSecret)}

    def _prepare(
        self, name: str, bundle: Bundle, material: _Material
    ) -> tuple[Candidate, tuple[RenderedFile, ...], Owner]:
        fetched = material.fetched
        variables = validate(bundle, fetched)
        if isinstance(variables, tuple):
            raise RejectedError(variables)
        files = render_all(bundle, variables)
        owner = owner_of(bundle, foreground=self.job.foreground)
        key = self._digest_key()
        candidate = Candidate(
            bundle=name,
            digest=content_digest(key, files, owner),
            versions=tuple(SecretVersion(r, s.version_id, s.created_at) for r, s in fetched.items()),
            variables=tuple(variables.values),
            defaults=variables.defaults,
            ignored=variables.ignored,
            variable_digests=variable_digests(key, name, variables.values),
            copy_of=material.copy_of,
            unsealed=material.unsealed,
        )
        return candidate, files, owner

    def _publish(
        self, candidate: Candidate, generation: int, files: tuple[RenderedFile, ...], owner: Owner
    ) -> bool:
        """Whether the bundle is shown."""
        try:
            record = publish(Path(self.job.runtime_dir), candidate, generation, files, owner)
        except FailureError as error:
            self._send(messages.PublishFailed(candidate.bundle, error.failure))
            return False
        self._send(messages.Published(record))
        return True

    def _digest_key(self) -> bytes:
        try:
            return published.read_digest_key(Path(self.job.runtime_dir))
        except OSError as error:
            raise FailureError(io_failure(error, "cannot read the digest key")) from None

    def _send(self, message: messages.WorkerMessage) -> None:
        self.writer.write(messages.encode_message(message))
        self.writer.flush()


def _read(result: FetchedSecret | FetchFailure) -> SecretRead:
    if isinstance(result, FetchFailure):
        return SecretRead(result.ref, failure=result.failure)
    return SecretRead(result.ref, result.version_id)


def _slow_failure(bundle: str) -> Failure:
    return Failure(
        code="too-slow",
        failure_class=FailureClass.DATA,
        message=f"checking bundle {bundle} took longer than {_BUNDLE_S:.0f} s",
        advice="simplify the patterns of its variables: nested repetition can take forever",
    )


def _no_time_to_seal(bundle: str) -> Failure:
    return Failure(
        code="sealed-later",
        failure_class=FailureClass.IO,
        message=f"the sealed copy of {bundle} was not written: the disk is too slow for one round",
        advice="it is written in one of the next rounds; look at the disk of state_dir",
    )


def _bug(bundle: str, error: Exception) -> Failure:
    # The type alone: the text of an error may quote what it choked on.
    return Failure(
        code="internal-error",
        failure_class=FailureClass.DATA,
        message=f"bundle {bundle} met a bug in secretsd: {type(error).__name__}",
        advice="report it with the bundle's configuration; the other bundles are not affected",
    )


def _too_big(ref: SecretRef) -> Failure:
    return Failure(
        code="answer-too-big",
        failure_class=FailureClass.TRANSIENT,
        message=f"the answer for {ref} did not fit into the worker's memory",
        advice="a secret has at most 64 KiB: look at what stands between this host and the endpoint",
        secret=str(ref),
    )
