"""The commands about generations: diff, history, and those by which an operator overrules the source."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from secretsd.config.models import Config
from secretsd.control.protocol import Reply
from secretsd.control.report import SCHEMA, failure_document, hold_document, showing_document, stage_of
from secretsd.control.requests import Request, number, seconds, text
from secretsd.control.settling import loaded, settled
from secretsd.errors import ExitCode, worst
from secretsd.model import Candidate, Hold, PublishRecord, Rejected, SecretVersion
from secretsd.refresh import overrule
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.files import drift, published
from secretsd.refresh.notebook import shown_earlier
from secretsd.refresh.state import BundleState

_TIMEOUT_S = 60.0


async def hold(conductor: Conductor, name: str, request: Request) -> Reply:
    word = await overrule.hold(conductor.bundles, name, by=_by(request), reason=text(request, "reason"))
    shown = f"{name} stays on generation {word.generation} until secretsctl resume {name}"
    reply = Reply(message=shown, body={"schema": SCHEMA, "bundle": name, "generation": word.generation})
    return _only_if_durable(conductor, reply)


async def resume(conductor: Conductor, name: str, request: Request) -> Reply:
    began = time.monotonic()
    deadline = began + seconds(request, "timeout", _TIMEOUT_S)
    ended = await overrule.resume(conductor.bundles, name, by=_by(request))
    targets = conductor.request_refresh([name])
    conductor.hurry_deliveries([name])
    reply = await settled(conductor, targets, began=began, deadline=deadline)
    what = "is no longer held" if ended else "was not held"
    if reply.code is not ExitCode.OK:
        return _only_if_durable(conductor, Reply(reply.code, f"{name} {what}; {reply.message}", reply.body))
    record = conductor.states[name].record if name in conductor.states else None
    shown = f"generation {record.generation}" if record else "nothing"
    done = Reply(message=f"{name} {what}; {shown} is published and loaded", body=reply.body)
    return _only_if_durable(conductor, done)


async def rollback(conductor: Conductor, name: str, request: Request) -> Reply:
    began = time.monotonic()
    deadline = began + seconds(request, "timeout", _TIMEOUT_S)
    to, reason = number(request, "to"), text(request, "reason")
    word = await overrule.rollback(conductor.bundles, name, to=to, by=_by(request), reason=reason)
    if isinstance(word, str):
        return Reply(ExitCode.DATA, f"{name} was not rolled back: {word}", {"advice": _SEE_HISTORY + name})
    state = conductor.states[name]
    conductor.look()
    await conductor.changes.until(lambda: _has_ended(state, word), deadline - time.monotonic())
    if state.record is None or state.record.digest != word.digest:
        return _not_rolled_back(name, state, word)
    conductor.hurry_deliveries([name])
    reply = await loaded(conductor, name, began=began, deadline=deadline)
    body = {**reply.body, "lines": [*_lines(reply), *_by_hand(conductor, name)]}
    done = f"{name} shows generation {word.generation} again, as generation {state.record.generation}"
    until = f"it stays until a newer version appears or secretsctl resume {name}"
    return _only_if_durable(conductor, Reply(reply.code, f"{done}; {until}", body))


def _by_hand(conductor: Conductor, name: str) -> list[str]:
    """What an operator in a hurry may do for units that wait as the configuration says."""
    state, bundle = conductor.states.get(name), conductor.config.bundles.get(name)
    waiting = [
        entry.unit
        for entry in (bundle.on_change if bundle and state else ())
        if state is not None and state.delivery(entry.unit).wait is not None
    ]
    advice = "until then it runs on what was rolled back from; by hand: systemctl restart"
    return [f"  {unit}: {advice} {unit}" for unit in waiting]


def _lines(reply: Reply) -> list[object]:
    lines = reply.body.get("lines")
    return lines if isinstance(lines, list) else []


def _only_if_durable(conductor: Conductor, reply: Reply) -> Reply:
    """The reply; a failure where a restart would forget what it says, and let a refused secret through."""
    problem, _, advice = conductor.bundles.notebook.problem.partition("; ")
    if not problem:
        return reply
    sentence = f"{reply.message}; but a restart of secretsd now would forget it: {problem}"
    return Reply(worst([reply.code, ExitCode.IO]), sentence, {**reply.body, "advice": advice})


def _has_ended(state: BundleState, word: Hold) -> bool:
    shown = state.record.digest if state.record else None
    return shown == word.digest or state.entry.hold != word


def _not_rolled_back(name: str, state: BundleState, word: Hold) -> Reply:
    if state.entry.hold == word:
        why = f": {state.failures[-1].message}" if state.failures else ""
        sentence = f"{name} is not rolled back yet, it is tried again{why}"
        return Reply(ExitCode.TRY_AGAIN, sentence, {"advice": f"secretsctl status {name}"})
    reason = state.failures[-1].message if state.failures else "it was taken back meanwhile"
    sentence = f"{name} was not rolled back: {reason}"
    return Reply(ExitCode.IO, sentence, {"advice": "see journalctl -u secretsd; " + _SEE_HISTORY + name})


_SEE_HISTORY = "see secretsctl history "


async def history(conductor: Conductor, name: str, _request: Request) -> Reply:
    state = conductor.states[name]
    kept = published.kept_records(Path(conductor.config.daemon.runtime_dir), name)
    shown = state.record.generation if state.record else None
    words = dict.fromkeys(kept, "kept") | {shown: "published"}
    # A journal that was lost, or written by an earlier secretsd, does not know all that is kept.
    known = {number: shown_earlier(record) for number, record in kept.items()}
    known |= {each.generation: each for each in state.entry.history}
    generations = [
        showing_document(known[number], words.get(number, "gone"), conductor.config)
        for number in sorted(known, reverse=True)
    ]
    body = {"schema": SCHEMA, "bundle": name, "hold": hold_document(state), "generations": generations}
    return Reply(body=body)


async def diff(conductor: Conductor, name: str, _request: Request) -> Reply:
    """What publishing what the source has now would change, by name; what was altered here, too."""
    state = conductor.states[name]
    result = await conductor.rehearse(name)
    record = state.record
    runtime_dir = Path(conductor.config.daemon.runtime_dir)
    files = drift.differences(runtime_dir, record) if record else ()
    body: dict[str, object] = {
        "schema": SCHEMA,
        "bundle": name,
        "files": [asdict(each) for each in files],
        "failures": [],
    }
    if isinstance(result, Rejected):
        code = worst([failure.exit_code for failure in result.failures])
        body["failures"] = [failure_document(failure) for failure in result.failures]
        first = result.failures[0]
        return Reply(code, f"{name} cannot be compared: {first.message}", body)
    new = result.variable_digests
    old = _variable_digests(record, result) if record else {}
    body["added"] = sorted(new.keys() - old.keys())
    body["removed"] = sorted(old.keys() - new.keys())
    body["changed"] = sorted(each for each in new.keys() & old.keys() if new[each] != old[each])
    body["versions"] = _versions(state, result, conductor.config)
    return Reply(body=body)


def _variable_digests(record: PublishRecord, result: Candidate) -> Mapping[str, str]:
    """What was published, by variable. An earlier secretsd has written down no more than the names."""
    if record.variable_digests:
        return record.variable_digests
    return result.variable_digests if record.digest == result.digest else dict.fromkeys(record.variables, "")


def _versions(state: BundleState, result: Candidate, config: Config) -> list[dict[str, object]]:
    shown = {_secret(version): version.version_id for version in state.versions}
    return [
        {
            "source": version.ref.source,
            "id": version.ref.id,
            "stage": stage_of(version.ref, config),
            "published": shown.get(_secret(version)),
            "source_has": version.version_id,
        }
        for version in result.versions
    ]


def _secret(version: SecretVersion) -> tuple[str, str, str]:
    return version.ref.source, version.ref.id, version.ref.stage


def _by(request: Request) -> str:
    """Who asked: the server has put the peer's uid there."""
    return str(request.get("by", ""))
