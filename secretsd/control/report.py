"""What the conductor knows, as documents for `status` and as sentences for people. No values anywhere."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import asdict

import secretsd
from secretsd import logs
from secretsd.config.cautions import cautions
from secretsd.config.models import Bundle, Config
from secretsd.config.on_change import OnChange
from secretsd.config.sources import AwsSecretsManager
from secretsd.control.push_report import push_warnings
from secretsd.control.source_report import source_documents
from secretsd.errors import ExitCode, Failure, worst
from secretsd.model import Hold, SecretRef, SecretVersion, Showing, Survey, SurveyedVariable
from secretsd.moments import iso
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.plan import Step, must_load
from secretsd.refresh.state import BundleState, Delivery

SCHEMA = 1


def document(conductor: Conductor, names: Collection[str]) -> dict[str, object]:
    """The answer to `status --json`: times are ISO 8601 in UTC, ages in seconds."""
    return {
        "schema": SCHEMA,
        "daemon": {
            "version": secretsd.__version__,
            "pid": os.getpid(),
            "ready": conductor.bundles.ready,
            "memory": conductor.memory.name,
            "warnings": _warnings(conductor),
        },
        "sources": source_documents(conductor.config, conductor.bundles.sources, conductor.pushes.states),
        "bundles": {name: bundle_document(conductor, name) for name in sorted(names)},
    }


def _warnings(conductor: Conductor) -> list[str]:
    dropped = logs.dropped_records()
    lost = f"{dropped} log records were dropped: is the journal running?" if dropped else ""
    notebook = conductor.bundles.notebook
    trail = (conductor.trail.ledger.problem, conductor.pruner.problem)
    on_disk = (*trail, notebook.loss, notebook.problem)
    troubles = (*on_disk, conductor.watch.problem, conductor.alerts.problem, conductor.guard.problem)
    unsealed = conductor.bundles.sealing.warnings()
    pushes = push_warnings(conductor.pushes.states)
    texts = (conductor.memory.warning, *troubles, *unsealed, lost, *pushes, *cautions(conductor.config))
    return [text for text in texts if text]


def bundle_document(conductor: Conductor, name: str) -> dict[str, object]:
    state, bundle = conductor.states[name], conductor.config.bundles[name]
    record = state.record
    return {
        "state": state_word(conductor, name),
        "generation": record.generation if record else None,
        "published_at": iso(record.published_at) if record else None,
        "confirmed_at": iso(state.confirmed_at),
        "max_age_s": bundle.max_age_s,
        "too_old": is_too_old(bundle, state),
        "next_refresh_s": round(max(0.0, conductor.due_at(name) - time.monotonic()), 1),
        "owner": bundle.owner,
        "variables": list(record.variables) if record else [],
        "defaults": list(record.defaults) if record else [],
        "ignored_keys": {secret: list(keys) for secret, keys in state.ignored.items()},
        "secrets": [_version(version, conductor.config) for version in state.versions],
        "failing_since": iso(state.failing_since),
        "failures": [failure_document(failure) for failure in state.failures],
        "hold": hold_document(state),
        "drift": {
            "count": state.drift.count,
            "last_at": iso(state.drift.last_at),
            "last": list(state.drift.last),
            "repaired": not state.drift.is_open,
        },
        "sealed": sealed_document(
            state, bundle, has_counter=conductor.config.daemon.seal_counter is not None
        ),
        "units": [_unit(entry, state) for entry in bundle.on_change],
    }


def is_too_old(bundle: Bundle, state: BundleState) -> bool:
    """Whether no unit is to start on what is published: its source has not confirmed it for too long."""
    age_s = state.age_s(time.monotonic())
    return bundle.max_age_s is not None and age_s is not None and age_s > bundle.max_age_s


def sealed_document(state: BundleState, bundle: Bundle, *, has_counter: bool) -> dict[str, object] | None:
    """The sealed copy that is published, or that a boot would take; None where none is configured."""
    if bundle.sealed_copy is None:
        return None
    newest = state.sealed[max(state.sealed)] if state.sealed else None
    confirmed_at = newest.confirmed_at if newest else None
    until = confirmed_at + bundle.sealed_copy.max_age_s if confirmed_at is not None else None
    if state.unsealed is not None:
        confirmed_at, until = state.unsealed.confirmed_at, state.unsealed.until
    return {
        "in_use": state.unsealed is not None,
        "confirmed_at": iso(confirmed_at),
        "until": iso(until),
        "problem": state.sealed_problem.message if state.sealed_problem else "",
        "has_counter": has_counter,
    }


def stage_of(ref: SecretRef, config: Config) -> str | None:
    """The stage that was read; None where a version was, or where the source knows no stages."""
    has_stages = isinstance(config.sources.get(ref.source), AwsSecretsManager)
    return ref.stage if has_stages and ref.version is None else None


def _version(version: SecretVersion, config: Config) -> dict[str, object]:
    return {
        "source": version.ref.source,
        "id": version.ref.id,
        "stage": stage_of(version.ref, config),
        "version_id": version.version_id,
        "created_at": iso(version.created_at),
    }


def hold_document(state: BundleState) -> dict[str, object] | None:
    """What an operator holds, and what the source has meanwhile; None where the source decides."""
    hold = state.entry.hold
    if hold is None:
        return None
    return {
        "kind": hold.kind,
        "since": iso(hold.since),
        "by": hold.by,
        "reason": hold.reason,
        "generation": state.record.generation if state.record else None,
        "from_generation": hold.from_generation,
        "waiting": [f"{version.ref.id} (version {version.version_id})" for version in _waiting(state, hold)],
    }


def _waiting(state: BundleState, hold: Hold) -> list[SecretVersion]:
    """What the source has and what is not shown; until it has answered again, what was rolled back from."""
    shown = {version.version_id for version in state.versions}
    return [version for version in state.held_back or hold.refused if version.version_id not in shown]


def showing_document(showing: Showing, state: str, config: Config) -> dict[str, object]:
    """A line of the history; `state` is "published", "kept" (a rollback can show it again) or "gone"."""
    return {
        "generation": showing.generation,
        "published_at": iso(showing.published_at),
        "reason": showing.reason,
        "copy_of": showing.copy_of,
        "by": showing.by or None,
        "state": state,
        "versions": [_version(version, config) for version in showing.versions],
    }


def state_word(conductor: Conductor, name: str) -> str:
    """One word for the whole bundle; failures stand beside it.

    "missing": nothing is published; "altered": somebody changed the published files, the next refresh mends
    them; "published": some unit is still to be told or has failed; "notified": all were told, and some have
    to stay active a little longer or to acknowledge; "loaded": every unit that is to be told has loaded it.
    """
    state, bundle = conductor.states[name], conductor.config.bundles[name]
    if state.record is None:
        return "missing"
    if not conductor.bundles.is_intact(name):
        return "altered"
    generation = state.record.generation
    told = [entry.unit for entry in bundle.on_change if must_load(entry)]
    behind = [unit for unit in told if state.entry.loaded.get(unit, 0) < generation]
    if not behind:
        return "loaded"
    return "notified" if all(_was_told(state.delivery(unit), generation) for unit in behind) else "published"


def _was_told(delivery: Delivery, generation: int) -> bool:
    report = delivery.report if delivery.generation == generation else None
    return report is not None and report.outcome in ("confirming", "unacknowledged")


def _unit(entry: OnChange, state: BundleState) -> dict[str, object]:
    unit, delivery = entry.unit, state.delivery(entry.unit)
    generation = state.record.generation if state.record else 0
    loaded = state.entry.loaded.get(unit, 0)
    current = delivery.report is not None and delivery.generation == generation
    outcome = delivery.report.outcome if delivery.report and current else "pending"
    if not must_load(entry):
        word = "not told"
    elif loaded >= generation > 0:
        word = "inactive" if outcome == "inactive" else "loaded"
    else:
        word = "waiting" if outcome in ("acted", "current", "inactive") else outcome
    wait = delivery.wait if outcome == "waiting" else None
    if wait is not None and word == "waiting":
        word = f"waiting for {wait.reason}"
    return {
        "unit": unit,
        "action": entry.action,
        "state": word,
        "loaded_generation": loaded or None,
        "until": iso(wait.at) if wait else None,
        "overdue": delivery.is_overdue,
        "message": delivery.report.message if delivery.report and current else "",
        "advice": delivery.report.advice if delivery.report and current else "",
    }


def failure_document(failure: Failure) -> dict[str, object]:
    return {**asdict(failure), "failure_class": failure.failure_class.value}


def shortfall(conductor: Conductor, name: str, target: int) -> tuple[ExitCode, list[str]] | None:
    """Why a reload of the bundle fell short, a line each, and the code for it; None where it did not."""
    state, bundle = conductor.states.get(name), conductor.config.bundles.get(name)
    if state is None or bundle is None:
        return None
    if state.failures:
        code = worst([failure.exit_code for failure in state.failures])
        return code, [f"{name}: {state.kept()}", *(line for each in state.failures for line in _reason(each))]
    if state.ended < target:
        return ExitCode.TRY_AGAIN, [f"{name}: its refresh has not ended yet: see secretsctl status {name}"]
    return not_loaded(conductor, name)


def not_loaded(conductor: Conductor, name: str) -> tuple[ExitCode, list[str]] | None:
    """Which unit has not loaded what is published, and why; None where all have."""
    state, bundle = conductor.states.get(name), conductor.config.bundles.get(name)
    if state is None or bundle is None or state.record is None:
        return None
    for entry in bundle.on_change:
        if must_load(entry) and state.entry.loaded.get(entry.unit, 0) < state.record.generation:
            return ExitCode.TRY_AGAIN, [f"{name}: published, not loaded", *_why_not_loaded(entry.unit, state)]
    return None


def _reason(failure: Failure) -> list[str]:
    return [f"  {failure.message}", f"  fix: {failure.advice}"]


_UNDER_WAY = {
    "starting": "has not started its main process yet",
    "confirming": "was told and must stay active a little longer",
    "unacknowledged": "was told and has not acknowledged: secretsctl ack BUNDLE GENERATION",
}


def _why_not_loaded(unit: str, state: BundleState) -> list[str]:
    delivery = state.delivery(unit)
    report = delivery.report
    if report is None or state.record is None or delivery.generation != state.record.generation:
        return [f"  {unit} has not been told yet"]
    if report.outcome in _UNDER_WAY:
        return [f"  {unit} {_UNDER_WAY[report.outcome]}"]
    return [f"  {report.message}"] + ([f"  fix: {report.advice}"] if report.advice else [])


def status_line(conductor: Conductor) -> str:
    """The daemon's STATUS= line, for `systemctl status secretsd`."""
    config, states = conductor.config, conductor.states
    if not config.bundles:
        return "No bundles are configured: add one to /etc/secretsd/conf.d and run systemctl reload secretsd"
    words = {name: state_word(conductor, name) for name in config.bundles}
    published = sum(word != "missing" for word in words.values())
    parts = [f"{published} of {len(words)} bundles published"]
    if conductor.trail.ledger.problem:
        parts.append("the audit log cannot be written: see secretsctl status")
    for name, bundle in config.bundles.items():
        if unsealed := states[name].unsealed:
            confirmed = iso(unsealed.confirmed_at)
            parts.append(f"{name}: from its sealed copy, which its source confirmed last at {confirmed}")
        elif states[name].failures:
            kept = "keeping the last good generation" if states[name].record else "nothing published"
            parts.append(f"{name}: {states[name].failures[0].code}, {kept}")
        elif is_too_old(bundle, states[name]):
            parts.append(f"{name}: too old, no unit starts on it")
        elif words[name] == "altered":
            parts.append(f"{name}: its files were altered on this host")
        elif words[name] == "published" and any(d.failed_attempts for d in states[name].deliveries.values()):
            units = [e.unit for e in bundle.on_change if states[name].delivery(e.unit).failed_attempts]
            parts.append(f"{name}: not loaded by {', '.join(units)}")
        elif overdue := [unit for unit, delivery in states[name].deliveries.items() if delivery.is_overdue]:
            parts.append(f"{name}: before says no to telling {', '.join(overdue)}")
    shown = parts[:4] + ([f"and {len(parts) - 4} more"] if len(parts) > 4 else [])
    return "; ".join(shown)


def survey_document(survey: Survey) -> dict[str, object]:
    """The answer to `schema --json`: each variable's rule as it would stand in the file."""
    return {
        "schema": SCHEMA,
        "bundle": survey.bundle,
        "variables": {each.name: _rule(each) for each in survey.variables},
        "left_out": [asdict(each) for each in survey.left_out],
    }


def _rule(variable: SurveyedVariable) -> dict[str, object]:
    rule: dict[str, object] = {} if variable.required else {"required": False}
    if variable.type != "string":
        rule["type"] = variable.type
    if variable.min_length:
        rule["min_length"] = variable.min_length
    return rule


def describe_step(step: Step) -> dict[str, object]:
    """A step of the plan as JSON: its kind and its fields."""
    kind = type(step).__name__
    fields = asdict(step)
    if "failures" in fields:
        fields["failures"] = [failure_document(failure) for failure in getattr(step, "failures", ())]
    return {"step": kind, **fields}
