"""What the audit trail is told of the refresher: reads, publishes, copies, notifications, pushes and orders.

Never a value, and no digest either: the ids of versions say exactly which content it was, and the digests
that secretsd has are keyed with a key that dies with the boot, so that nobody could ever check them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import secretsd
from secretsd.audit import record
from secretsd.audit.ledger import Ledger
from secretsd.audit.usage import LOADED
from secretsd.errors import ConfigError, ExitCode, Failure
from secretsd.model import (
    CURRENT_STAGE,
    PublishRecord,
    SealedHeader,
    SecretRead,
    SecretRef,
    SecretVersion,
    UnitReport,
)
from secretsd.refresh.guard import ALL_BUNDLES, things_of
from secretsd.refresh.plan import NotifyUnit
from secretsd.refresh.push.state import PushState
from secretsd.refresh.reads import Outcome, Reads, outcome, outcome_of
from secretsd.refresh.state import Intent
from secretsd.signing.model import Peer
from secretsd.unusual.detector import Detector
from secretsd.unusual.findings import actor_of

_OK = Outcome("ok")
_RESULTS: dict[ExitCode, record.Result] = {ExitCode.OK: "ok", ExitCode.REFUSED: "refused"}
# What a unit waits for is said once, however often it is looked at.
_REPEATED = frozenset({"waiting", "starting", "unacknowledged"})
# Anybody who may send to a queue can send what is no hint, and must not be able to fill the disk.
_DISCARDED_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody has asked for."""

    action: str
    actor: str  # as record.actor makes it
    number: int  # joins what is said before it with what is said after it
    details: Mapping[str, object]


@dataclass(slots=True)
class Discarded:
    """Messages of a queue that were no hints, since `told_at`, in monotonic seconds."""

    told_at: float = float("-inf")
    ignored: int = 0  # well-formed, and about nothing that moves a version
    malformed: int = 0


class Trail:
    """Words for `ledger`, and for `detector`, which looks for unusual ones.

    All methods are for the event loop's thread and never raise.
    """

    def __init__(self, ledger: Ledger, detector: Detector) -> None:
        self.ledger = ledger
        self._detector = detector
        self._number = 0  # joins intent and outcome
        self._reads = Reads()
        self._told: dict[tuple[str, str], tuple[int, str]] = {}  # bundle and unit -> generation, outcome
        self._pushes: dict[str, Outcome] = {}  # source -> how its push does
        self._discarded: dict[str, Discarded] = {}  # source -> what no record has told of yet

    def open(self) -> None:
        """Begins to write."""
        self.ledger.open()
        self._event("start", version=secretsd.__version__)

    def close(self) -> None:
        """Writes what there is, for at most 5 s."""
        for source in list(self._discarded):
            self._tell_discarded(source)
        self._event("stop")
        self.ledger.close()

    # --- sources ---------------------------------------------------------------------------------------

    def read(self, source: str, reads: Sequence[SecretRead]) -> None:
        """A source was asked for these secrets, and this came."""
        news, again = self._reads.sorted(reads, time.monotonic())
        for read in news:
            self._fetched(read)
        for result, ids in again.items():
            secrets = list(dict.fromkeys(ids))
            self._event("refetch", result, source=source, count=len(secrets), secrets=secrets)

    def _fetched(self, read: SecretRead) -> None:
        ref = read.ref
        stage = {} if ref.stage == CURRENT_STAGE else {"stage": ref.stage}
        version = {"version_id": read.version_id} if read.version_id else {}
        kind = {"class": read.failure.failure_class.value} if read.failure else {}
        self._event("fetch", outcome_of(read), source=ref.source, secret=ref.id, **stage, **version, **kind)

    # --- pushes ----------------------------------------------------------------------------------------

    def listened(self, source: str, push: PushState) -> None:
        """Something was heard of the source's push; what it does now is told where that is news."""
        said = _word(push)
        if self._pushes.get(source) != said:
            self._pushes[source] = said
            self._event("push", said, source=source)

    def listens_no_more(self, source: str) -> None:
        """The configuration wants no push there any more, or another one."""
        self._pushes.pop(source, None)

    def hinted(self, bundle: str, secrets: Mapping[SecretRef, str | None]) -> None:
        """The bundle's sources are about to be asked, for what messages have said of these secrets."""
        told = (_named(ref, version or "") for ref, version in secrets.items())
        self._event("hint", bundle=bundle, secrets=list(told))

    def discarded(self, source: str, *, ignored: int, malformed: int) -> None:
        """So many messages of the queue were no hint. The first are told at once, later ones each hour."""
        if not ignored and not malformed:
            return
        counts = self._discarded.setdefault(source, Discarded())
        counts.ignored += ignored
        counts.malformed += malformed
        if time.monotonic() - counts.told_at >= _DISCARDED_EVERY_S:
            self._tell_discarded(source)

    def _tell_discarded(self, source: str) -> None:
        counts = self._discarded[source]
        if counts.ignored or counts.malformed:
            self._event("discard", source=source, ignored=counts.ignored, malformed=counts.malformed)
            self._discarded[source] = Discarded(time.monotonic())

    # --- bundles ---------------------------------------------------------------------------------------

    def published(self, shown: PublishRecord, intent: Intent | None) -> None:
        """A generation is shown from now on."""
        if shown.copy_of is None:
            # The worker says what it has read when the whole source is through, which is later.
            came = [SecretRead(version.ref, version.version_id) for version in shown.versions]
            for read in self._reads.early(came, time.monotonic()):
                self._fetched(read)
        said: dict[str, object] = {"bundle": shown.bundle, "generation": shown.generation}
        if shown.copy_of is not None:
            said["copy_of"] = shown.copy_of
        if intent and intent.generation == shown.generation:
            said["why"] = intent.reason
        said["secrets"] = [_version(version) for version in shown.versions]
        self._event("publish" if shown.unsealed is None else "unseal", **said)

    def not_refreshed(self, bundle: str, failures: Collection[Failure]) -> None:
        """The bundle stays as it is, for these reasons."""
        for failure in failures:
            self._failed("refresh", bundle, failure)

    def refreshed_again(self, bundle: str, failed: int) -> None:
        """The bundle's sources have what it needs again, after so many refreshes that failed."""
        self._event("refresh", bundle=bundle, failed=failed)

    def sealed(self, copy: SealedHeader) -> None:
        """A sealed copy of this generation is on the disk."""
        secrets = [_version(version) for version in copy.versions]
        self._event("seal", bundle=copy.bundle, generation=copy.generation, secrets=secrets)

    def not_sealed(self, bundle: str, failure: Failure) -> None:
        """No sealed copy could be made, for a reason that was not told yet."""
        self._failed("seal", bundle, failure)

    def not_restored(self, bundle: str, failure: Failure) -> None:
        """The bundle could not be shown from a copy."""
        self._failed("restore", bundle, failure)

    def _failed(self, action: str, bundle: str, failure: Failure) -> None:
        secret = {"secret": failure.secret} if failure.secret else {}
        result = outcome(failure.failure_class, failure.code)
        self._event(action, result, bundle=bundle, **secret, **{"class": failure.failure_class.value})

    def removed(self, bundle: str, why: str) -> None:
        """The bundle's files were taken away."""
        self._event("remove", bundle=bundle, why=why)

    def altered(self, bundle: str, what: Sequence[str]) -> None:
        """Somebody else has altered published files."""
        self._event("drift", bundle=bundle, what=list(what))

    def released(self, bundle: str) -> None:
        """No operator's word holds the bundle any more."""
        self._event("release", bundle=bundle)

    def told(self, step: NotifyUnit, report: UnitReport, shown: PublishRecord | None) -> None:
        """A unit was told of a generation, or looked at, and this is how it took it; `shown` is published."""
        if report.outcome in LOADED and shown is not None and shown.generation == step.generation:
            self._detector.used(things_of(shown), step.unit)
        key, news = (step.bundle, step.unit), (step.generation, report.outcome)
        if report.outcome in _REPEATED and self._told.get(key) == news:
            return
        self._told[key] = news
        result = Outcome("failed", "unit-failed") if report.outcome == "failed" else _OK
        where = {"bundle": step.bundle, "generation": step.generation, "unit": step.unit}
        self._event("notify", result, **where, outcome=report.outcome)

    # --- orders ----------------------------------------------------------------------------------------

    def configured(self, bundles: int, changed: Collection[str]) -> None:
        """A configuration is in force."""
        self._event("configure", bundles=bundles, changed=sorted(changed))

    def not_configured(self, error: ConfigError) -> None:
        """A configuration was refused, and the one before stays."""
        self._event("configure", Outcome("failed", error.code), mistakes=len(error.problems))

    def order(self, action: str, peer: Peer | None, details: Mapping[str, object]) -> Order:
        """Somebody asks for something; nothing is on record by this. `peer` is None for a signal."""
        self._number += 1
        return Order(action, record.DAEMON if peer is None else record.actor(peer), self._number, details)

    def asked(self, bundle: str | None, peer: Peer) -> None:
        """Somebody who may has asked for something that reads or changes a bundle, or all of them."""
        self._detector.used([("bundle", bundle) if bundle else ALL_BUNDLES], actor_of(peer))

    def refused(self, bundle: str | None, peer: Peer) -> None:
        """Somebody who may not has asked. The name may be anything; it is not kept."""
        self._detector.refused(actor_of(peer), bundle)

    def begun(self, order: Order) -> None:
        """It is about to be done: to be durable before it is."""
        self.ledger.write(record.order(order.action, order.actor, order.number, order.details))

    def ended(self, order: Order, code: ExitCode, reason: str) -> None:
        """What came of it; `reason` is a word, empty where all went well."""
        members = record.event(
            order.action,
            order.actor,
            request=order.number,
            result=_RESULTS.get(code, "failed"),
            reason=reason,
            details=order.details,
        )
        self.ledger.write(members)

    def _event(self, action: str, result: Outcome = _OK, /, **details: object) -> None:
        members = record.event(action, result=result.result, reason=result.reason, details=details)
        self.ledger.write(members)


def _version(version: SecretVersion) -> dict[str, str]:
    return _named(version.ref, version.version_id)


def _named(ref: SecretRef, version_id: str) -> dict[str, str]:
    version = {"version_id": version_id} if version_id else {}
    return {"source": ref.source, "secret": ref.id, **version}


def _word(push: PushState) -> Outcome:
    if (trouble := push.trouble) is not None:
        return outcome(trouble.failure_class, trouble.code)
    return _OK if push.is_healthy else Outcome("failed", "silent")
