"""The refresher's metrics: what the conductor knows when it is asked, and has counted since it started."""

from __future__ import annotations

import time
from collections.abc import Sequence

from secretsd.config.models import Bundle
from secretsd.control.check import Check
from secretsd.control.report import state_word
from secretsd.monitor import catalogue
from secretsd.monitor.common import common_metrics, unusual
from secretsd.monitor.exposition import Sheet
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.plan import must_load
from secretsd.refresh.push.state import Lags, PushState
from secretsd.refresh.source_book.breaker import Breaker
from secretsd.refresh.source_book.endpoints import stops
from secretsd.refresh.state import BundleState

_STATES = ("loaded", "notified", "published", "altered", "missing")


def sheet(conductor: Conductor, checks: Sequence[Check]) -> Sheet:
    """All of them. About 30 samples for a bundle, and 10 for a source."""
    page, now = common_metrics("refresher", checks), time.monotonic()
    for name, bundle in conductor.config.bundles.items():
        if (state := conductor.states.get(name)) is not None:
            _bundle(page, name, bundle, state, now)
            word = state_word(conductor, name)
            for each in _STATES:
                page.set(catalogue.STATE, each == word, name, each)
            _units(page, name, bundle, state)
    for source in conductor.config.sources:
        _source(page, conductor, source)
    for source, push in conductor.pushes.states.items():
        _push(page, source, push)
    for result in ("told", "failed", "suppressed"):
        page.set(catalogue.ALERTS, conductor.alerts.counts[result], result)
    unusual(page, conductor.guard.sentry.detector)
    ledger = conductor.trail.ledger
    page.set(catalogue.AUDIT_RECORDS, ledger.last_number)
    page.set(catalogue.AUDIT_LOST, ledger.lost)
    page.set(catalogue.AUDIT_UP, not ledger.problem)
    page.set(catalogue.WORKERS_LOST, conductor.lost_workers)
    page.set(catalogue.JOURNAL_FAILING, bool(conductor.bundles.notebook.problem))
    page.set(catalogue.CONFIG_REFUSED, bool(conductor.refused_configuration))
    return page


def _bundle(page: Sheet, name: str, bundle: Bundle, state: BundleState, now: float) -> None:
    for result in ("ok", "transient", "identity", "refusal", "data", "io"):
        page.set(catalogue.REFRESHES, state.results[result], name, result)
    for kind, code in dict.fromkeys((each.failure_class.value, each.code) for each in state.failures):
        page.set(catalogue.FAILING, 1, name, kind, code)
    page.set(catalogue.GENERATION, state.record.generation if state.record else 0, name)
    if state.record is not None:
        page.set(catalogue.PUBLISHED, state.record.published_at, name)
    if (age_s := state.age_s(now)) is not None:
        page.set(catalogue.CONFIRMED_AGE, age_s, name)
    if bundle.max_age_s is not None:
        page.set(catalogue.MAX_AGE, bundle.max_age_s, name)
    page.set(catalogue.HELD, state.entry.hold is not None, name)
    page.set(catalogue.DRIFT, state.drift.count, name)
    configured = {secret.ref for secret in bundle.secrets}
    for version in state.versions:
        if version.created_at is not None and version.ref in configured:
            secret = (name, version.ref.source, str(version.ref))
            page.set(catalogue.CREATED, version.created_at, *secret)
    if bundle.sealed_copy is not None:
        page.set(catalogue.SEALED_IN_USE, state.unsealed is not None, name)
        page.set(catalogue.SEALED_PROBLEM, state.sealed_problem is not None, name)
        newest = state.sealed[max(state.sealed)] if state.sealed else None
        if newest is not None:
            page.set(catalogue.SEALED_CONFIRMED, newest.confirmed_at, name)


def _units(page: Sheet, name: str, bundle: Bundle, state: BundleState) -> None:
    generation = state.record.generation if state.record else 0
    for entry in bundle.on_change:
        delivery = state.delivery(entry.unit)
        for outcome, count in delivery.outcomes.items():
            page.set(catalogue.NOTIFIED, count, name, entry.unit, outcome)
        is_behind = must_load(entry) and state.entry.loaded.get(entry.unit, 0) < generation
        page.set(catalogue.BEHIND, is_behind, name, entry.unit)
        page.set(catalogue.UNIT_FAILING, delivery.failed_attempts, name, entry.unit)


def _source(page: Sheet, conductor: Conductor, source: str) -> None:
    book, ways = conductor.bundles.sources, stops(conductor.config.sources[source])
    known = book.state(source)
    for operation, count in book.calls.totals.get(source, {}).items():
        page.set(catalogue.CALLS, count, source, operation)
    if not ways:
        return
    for result in ("answers", "fails"):
        page.set(catalogue.FETCHES, known.fetches[result], source, result)
    if known.skew_s is not None:
        page.set(catalogue.SKEW, known.skew_s, source)
    first = next((stop for stop in ways if stop.endpoint == known.use.endpoint), ways[0])
    page.set(catalogue.AWAY, first is not ways[0], source)
    for stop in ways:
        page.set(catalogue.IN_USE, stop is first, source, stop.endpoint)
        failures = book.breakers.get(stop.endpoint, Breaker()).failures
        page.set(catalogue.ENDPOINT_FAILURES, failures, source, stop.endpoint)


def _push(page: Sheet, source: str, push: PushState) -> None:
    page.set(catalogue.PUSH_HEALTHY, push.is_healthy, source)
    if push.last_message_at is not None:
        page.set(catalogue.PUSH_LAST, push.last_message_at, source)
    for kind, count in (("hint", push.hints), ("ignored", push.ignored), ("malformed", push.malformed)):
        page.set(catalogue.PUSH_MESSAGES, count, source, kind)
    page.spread(catalogue.PUSH_LAG, Lags.BOUNDS_S, push.lags.counts, push.lags.sum_s, source)
    page.set(catalogue.PUSH_RESTARTS, push.restarts, source)
