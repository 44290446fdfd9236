"""What the audit trail is told of the refresher: reads, publishes, notifications, alterations and orders.

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
from secretsd.model import CURRENT_STAGE, PublishRecord, SecretRead, SecretVersion, UnitReport
from secretsd.refresh.guard import ALL_BUNDLES, things_of
from secretsd.refresh.plan import NotifyUnit
from secretsd.refresh.reads import Outcome, Reads, outcome, outcome_of
from secretsd.refresh.state import Intent
from secretsd.signing.model import Peer
from secretsd.unusual.detector import Detector
from secretsd.unusual.findings import actor_of

_OK = Outcome("ok")
_RESULTS: dict[ExitCode, record.Result] = {ExitCode.OK: "ok", ExitCode.REFUSED: "refused"}
# What a unit waits for is said once, however often it is looked at.
_REPEATED = frozenset({"waiting", "starting", "unacknowledged"})


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody has asked for."""

    action: str
    actor: str  # as record.actor makes it
    number: int  # joins what is said before it with what is said after it
    details: Mapping[str, object]


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

    def open(self) -> None:
        """Begins to write."""
        self.ledger.open()
        self._event("start", version=secretsd.__version__)

    def close(self) -> None:
        """Writes what there is, for at most 5 s."""
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
        if report.outcome in LOADED:
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
    return {"source": version.ref.source, "secret": version.ref.id, "version_id": version.version_id}
