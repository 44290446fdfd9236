"""What the conductor knows of each push: for `status`, its warnings, and `doctor`. No values anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secretsd.control.check import Check, fail, failed, ok, warn
from secretsd.errors import ExitCode, Failure
from secretsd.moments import in_words, iso
from secretsd.refresh.push.state import PushState


def push_document(push: PushState | None) -> dict[str, object] | None:
    """The part `push` of a source's document; None where it has none. Times are ISO 8601 in UTC."""
    if push is None:
        return None
    return {
        "healthy": push.is_healthy,
        "since": iso(push.since),
        "last_message_at": iso(push.last_message_at),
        "hints": push.hints,
        "ignored": push.ignored,
        "malformed": push.malformed,
        "restarts": push.restarts,
        "failure": _failure(push.trouble),
    }


def push_warnings(pushes: Mapping[str, PushState]) -> Iterator[str]:
    """A sentence for each push that is not as it should be; none for one that has only just begun."""
    for source, push in sorted(pushes.items()):
        trouble = push.trouble
        if trouble is None and (push.is_healthy or push.since is None):
            continue
        state = "" if push.is_healthy else ", so its bundles are refreshed by their own interval"
        why = f"{trouble.message}. {trouble.advice}" if trouble else "the queue has not answered for a minute"
        yield f"push {source}{state}: {why}"


def push_check(source: str, push: PushState) -> Check:
    """The line of `doctor`: whether the queue answers, and whether we may receive and delete."""
    check = f"push {source}"
    if push.trouble is not None:
        return failed(check, push.trouble)
    if not push.is_healthy:
        if push.since is None:
            return warn(check, "the listener has only just begun", "look again in a minute")
        fix = "check the network path to SQS; journalctl -u secretsd -n 50"
        return fail(check, "the queue has not answered for a minute", fix, ExitCode.UNAVAILABLE)
    last = f", the last message came at {in_words(push.last_message_at)}" if push.last_message_at else ""
    return ok(check, f"the queue answers, messages may be received and deleted{last}")


def _failure(failure: Failure | None) -> dict[str, object] | None:
    if failure is None:
        return None
    return {
        "code": failure.code,
        "failure_class": failure.failure_class.value,
        "message": failure.message,
        "advice": failure.advice,
    }
