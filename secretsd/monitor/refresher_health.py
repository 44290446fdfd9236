"""How the refresher is: each bundle, each unit that is to load one, each source, and what it needs itself.

A check fails where a bot of this host could not start now, or runs on what is no longer published. All else
that is wrong warns: see monitor/health.py for why.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from secretsd.config.models import Bundle
from secretsd.config.on_change import OnChange
from secretsd.control.check import Check, fail, failed, ok, warn
from secretsd.control.push_report import push_check
from secretsd.control.report import is_too_old, state_word
from secretsd.errors import ExitCode
from secretsd.monitor.common import log_check, trail_check
from secretsd.observe.conditions import UNDER_WAY_S
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.plan import must_load
from secretsd.refresh.source_book.breaker import Breaker
from secretsd.refresh.source_book.endpoints import stops
from secretsd.refresh.state import BundleState
from secretsd.timespan import spoken

_SKEW_WARN_S = 60.0  # SigV4 allows 300
_DRIFT_COUNTS_S = 60.0  # files that were altered and mended are told of for this long
_AS_CONFIGURED = frozenset({"waiting", "confirming"})


def checks(conductor: Conductor) -> list[Check]:
    """All of them; one that is well is there too. Looks at published files, opens none."""
    now, wall = time.monotonic(), time.time()
    found = list(_itself(conductor, now))
    for name, bundle in conductor.config.bundles.items():
        if (state := conductor.states.get(name)) is not None:
            found.append(_bundle(conductor, name, bundle, state, wall))
            found += _units(name, bundle, state, wall)
            found += _sealed(name, bundle, state)
    for source in conductor.config.sources:
        found += _source(conductor, source)
    return found


def _itself(conductor: Conductor, now: float) -> Iterator[Check]:
    if not conductor.bundles.ready:
        yield fail(
            "start", "the first refreshes have not ended yet", "wait a few seconds", ExitCode.TRY_AGAIN
        )
    if conductor.refused_configuration:
        what = f"the last reload changed nothing: {conductor.refused_configuration}"
        yield warn("configuration", what, "secretsctl check-config, then systemctl reload secretsd")
    yield from log_check(now)
    if audit := conductor.trail.ledger.problem:
        fix = "look at owner, mode and free room of audit in state_dir; until then orders are refused"
        yield warn("audit log", audit, fix)
    else:
        yield ok("audit log", "is written")
    yield from trail_check(conductor.pruner)
    notebook = conductor.bundles.notebook
    see = "see secretsctl status"
    for check, problem in (
        ("journal", notebook.problem or notebook.loss),
        ("watch", conductor.watch.problem),
        ("alerts", conductor.alerts.problem),
        ("memory", conductor.memory.warning),
        ("unusual access", conductor.guard.problem),
    ):
        well = "is told" if check == "unusual access" else "well"
        yield warn(check, problem, see) if problem else ok(check, well)


def _bundle(conductor: Conductor, name: str, bundle: Bundle, state: BundleState, wall: float) -> Check:
    check, word = f"bundle {name}", state_word(conductor, name)
    failure = state.failures[0] if state.failures else None
    if word == "missing":
        if failure is not None:
            return failed(check, failure)
        return fail(check, "it is not published yet", f"see secretsctl status {name}", ExitCode.TRY_AGAIN)
    if word == "altered":
        what = f"its files were altered on this host: {'; '.join(state.drift.last)}"
        return fail(check, what, "secretsd repairs them; find out who did it", ExitCode.IO)
    if is_too_old(bundle, state):
        what = f"too old, no unit starts on it{f': {failure.message}' if failure else ''}"
        fix = failure.advice if failure else f"see secretsctl status {name}"
        return fail(check, what, fix, ExitCode.TRY_AGAIN)
    if failure is not None:
        return warn(check, f"not refreshed, the last good files stay: {failure.message}", failure.advice)
    if state.drift.last_at is not None and 0 <= wall - state.drift.last_at < _DRIFT_COUNTS_S:
        what = f"its files were altered a moment ago and repaired: {'; '.join(state.drift.last)}"
        return warn(check, what, f"find out who did it: secretsctl status {name}, journalctl")
    return ok(check, "published" if state.entry.hold is None else "published, and held by an operator")


def _units(name: str, bundle: Bundle, state: BundleState, wall: float) -> Iterator[Check]:
    if state.record is None:
        return
    for entry in bundle.on_change:
        if must_load(entry):
            is_loaded = state.entry.loaded.get(entry.unit, 0) >= state.record.generation
            check = f"unit {entry.unit}"
            yield ok(check, f"has loaded {name}") if is_loaded else _behind(check, name, entry, state, wall)


def _behind(check: str, name: str, entry: OnChange, state: BundleState, wall: float) -> Check:
    delivery = state.delivery(entry.unit)
    told = delivery.last_failure or delivery.report
    outcome = delivery.report.outcome if delivery.report else "pending"
    if not delivery.failed_attempts and not delivery.is_overdue:
        published_at = state.record.published_at if state.record else wall
        if outcome in _AS_CONFIGURED or 0 <= wall - published_at < UNDER_WAY_S:
            return ok(check, f"is being brought to {name}")
    why = f": {told.message}" if told is not None and told.message else ""
    fix = (told.advice if told else "") or f"see secretsctl status {name}, journalctl -u {entry.unit} -n 50"
    return fail(check, f"has not loaded what is published of {name}{why}", fix, ExitCode.TRY_AGAIN)


def _sealed(name: str, bundle: Bundle, state: BundleState) -> Iterator[Check]:
    if bundle.sealed_copy is None:
        return
    check = f"sealed copy of {name}"
    if state.sealed_problem is not None:
        yield warn(check, state.sealed_problem.message, state.sealed_problem.advice)
    elif state.unsealed is not None:
        fix = f"see secretsctl status {name} for why its source does not answer"
        yield warn(check, "is what is published: no source has confirmed it since the boot", fix)
    else:
        yield ok(check, "is kept" if state.sealed else "will be made after the next publish")


def _source(conductor: Conductor, source: str) -> Iterator[Check]:
    book, ways = conductor.bundles.sources, stops(conductor.config.sources[source])
    known = book.state(source)
    in_use = known.use.endpoint or (ways[0].endpoint if ways else "")
    fix = f"check the network path and the endpoint: secretsctl doctor; secretsctl status shows {source}"
    for stop in ways:
        breaker = book.breakers.get(stop.endpoint, Breaker())
        if not breaker.is_closed:
            since = f" for {spoken(time.time() - breaker.since)}" if breaker.since is not None else ""
            yield warn(f"source {source}", f"{stop.endpoint} does not answer ({breaker.code}){since}", fix)
        elif stop.endpoint == in_use and stop is not ways[0]:
            yield warn(f"source {source}", f"{stop.endpoint} is asked instead of {ways[0].endpoint}", fix)
        elif stop.endpoint == in_use:
            yield ok(f"source {source}", f"{stop.endpoint} answers")
    if known.skew_s is not None and abs(known.skew_s) > _SKEW_WARN_S:
        told = f"this host's clock is {spoken(abs(known.skew_s))} {'ahead' if known.skew_s > 0 else 'behind'}"
        yield warn(
            f"clock {source}", told, "timedatectl status; systemctl restart systemd-timesyncd or chrony"
        )
    push = conductor.pushes.states.get(source)
    if push is not None and push.since is not None:
        seen = push_check(source, push)
        # Without the push bundles are refreshed by their own interval: later, but they are.
        yield seen if seen.state == "ok" else warn(seen.check, seen.detail, seen.fix)
