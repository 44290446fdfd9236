"""The sink in CloudWatch Logs: a stream for each chain, a record an event, in their order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from secretsd.errors import FailureClass
from secretsd.shipping.sinks.aws import Refused, Service
from secretsd.shipping.sinks.interface import Sent, SinkError
from secretsd.shipping.sinks.texts import failure_of

if TYPE_CHECKING:
    from secretsd.audit.chain import Head
    from secretsd.config.shipping import AuditCloudWatch
    from secretsd.shipping.pieces import Piece

# PutLogEvents: at most 1 MiB (UTF-8 and 26 bytes an event), 10,000 events, 24 hours from first to last.
_MOST_BYTES, _EVENT_BYTES = 1048576, 26
_MOST_EVENTS = 10_000
_LONGEST_SPAN_MS = 24 * 3600 * 1000
# Of one event. A record is never so long; if one is, it must not stop all that follow.
_LONGEST_EVENT_BYTES = 262144 - _EVENT_BYTES
_TIME = re.compile(rb'"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z"')
_NO_STREAM = frozenset({"ResourceNotFoundException"})
_STREAM_THERE = frozenset({"ResourceAlreadyExistsException", "ResourceNotFoundException"})


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call sends: its events, of how many records, and how many of these are too long to be sent."""

    events: tuple[dict[str, object], ...]
    records: int
    too_long: int


class CloudWatch:
    """A `Sink` for the log group of `[audit.cloudwatch]`."""

    name = "cloudwatch"
    limit_bytes = 921600
    look_every_s = 2.0
    batch_age_s = 0.0
    keeps_pieces = False

    def __init__(self, config: AuditCloudWatch) -> None:
        self._group = config.log_group
        self._host = os.uname().nodename
        self._service = Service(self.name, "logs", config.region, config.endpoint_url)
        self._last_ms: dict[str, int] = {}

    def is_due(self, piece: Piece, waited_s: float, *, is_finished: bool) -> bool:
        del piece, waited_s, is_finished
        return True

    def send(self, daemon: str, piece: Piece, receipt: str) -> Sent:
        del receipt
        batch = batch_of((line for _, line in piece.lines()), self._last_ms.get(daemon, 0))
        refused = batch.too_long
        if batch.events:
            refused += self._put(f"{self._host}/{daemon}", batch)
            self._last_ms[daemon] = int(str(batch.events[-1]["timestamp"]))
        return Sent(batch.records, refused=refused)

    def anchor(self, daemon: str, head: Head, time_ns: int) -> None:
        """Nothing: what its owner can remove anchors nothing."""

    def _put(self, stream: str, batch: Batch) -> int:
        """Returns how many events were refused for good."""
        params = {"logGroupName": self._group, "logStreamName": stream, "logEvents": list(batch.events)}
        try:
            answer = self._service.ask("put_log_events", params, _NO_STREAM)
        except Refused:
            self._make(stream)
            answer = self._service.ask("put_log_events", params)
        return refused_events(answer.get("rejectedLogEventsInfo") or {}, len(batch.events))

    def _make(self, stream: str) -> None:
        try:
            params = {"logGroupName": self._group, "logStreamName": stream}
            self._service.ask("create_log_stream", params, _STREAM_THERE)
        except Refused as refused:
            if refused.code in _NO_STREAM:
                failure = failure_of("log-group-missing", FailureClass.REFUSAL, self.name, refused.code)
                raise SinkError(failure) from None


def batch_of(lines: Iterator[bytes], last_ms: int) -> Batch:
    """The first of `lines` that fit into one call. No event is before `last_ms`, nor before its neighbour.

    Events have to be in the order of their times, and the clock of who wrote them may have been set back.
    """
    events: list[dict[str, object]] = []
    first_ms, size, records, too_long = 0, 0, 0, 0
    for line in lines:
        message = line.rstrip(b"\n")
        at_ms = max(last_ms, _time_ms(message))
        first_ms = first_ms if events else at_ms
        size += len(message) + _EVENT_BYTES
        if events and (
            size > _MOST_BYTES or len(events) == _MOST_EVENTS or at_ms - first_ms >= _LONGEST_SPAN_MS
        ):
            break
        records += 1
        if len(message) > _LONGEST_EVENT_BYTES:
            size -= len(message) + _EVENT_BYTES
            too_long += 1
            continue
        events.append({"timestamp": at_ms, "message": message.decode("utf-8", "replace")})
        last_ms = at_ms
    return Batch(tuple(events), records, too_long)


def refused_events(info: Mapping[str, Any], events: int) -> int:
    """How many of a call's events CloudWatch took for too old or too new."""
    too_old = max(info.get("tooOldLogEventEndIndex", 0), info.get("expiredLogEventEndIndex", 0))
    return int(too_old + events - info.get("tooNewLogEventStartIndex", events))


def _time_ms(message: bytes) -> int:
    """The record's own time; 0 where it has none."""
    found = _TIME.search(message)
    if found is None:
        return 0
    return int(datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC).timestamp() * 1000)
