"""One queue of SQS: wait for messages, delete them. No exception of the SDK leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from secretsd.push.failures import failure, fault_of
from secretsd.push.messages import MOST_MESSAGES
from secretsd.refresh.sources.aws.errors import NO_REGION
from secretsd.refresh.sources.aws.identity import resolve_identity
from secretsd.refresh.sources.aws.session import Timeouts, client_config, new_session
from secretsd.refresh.sources.faults import INCOMPLETE, NO_ANSWER, CallFailedError, Fault

if TYPE_CHECKING:
    from botocore.session import Session

    from secretsd.errors import Failure
    from secretsd.push.messages import Assignment

WAIT_S = 20  # the longest that SQS allows
# What a listener that was lost had taken comes again after this long. Deleting follows within milliseconds.
_HIDDEN_S = 10
# An answer that drips in is given up; a silent connection is, too, a little after the wait's end.
_DEADLINE_S = WAIT_S + 8.0
_ALARM_AGAIN_S = 1.0
_TIMEOUTS = Timeouts(connect_s=3.0, read_s=WAIT_S + 5.0)
_REGION_IN_URL = re.compile(r"https?://sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/")
_RECEIVE, _DELETE = "sqs:ReceiveMessage", "sqs:DeleteMessage"
# Names no message. A queue that lets us delete answers that this handle is not valid.
_NO_HANDLE = "secretsd-asks-whether-it-may-delete"


class QueueFailedError(Exception):
    """Carries the `Failure` of one call."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Message:
    """As it came: anybody who may send to the queue may have written the body."""

    body: object
    handle: str


class _TooLateError(Exception):
    """The call took longer than anything that works."""


class Queue:
    """The queue that `assignment` names. For the main thread: the deadline of a call is an alarm.

    Contacts nothing before the first call. After a QueueFailedError a new one is to be made: this finds
    credentials anew.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._counts: Counter[str] = Counter()
        self._client: Any = None  # botocore makes its clients' methods at run time
        self._is_whole = False  # the last answer was SQS's, and all of it

    def take_calls(self) -> dict[str, int]:
        """Requests sent since this was last asked, by operation ("ReceiveMessage")."""
        taken = dict(self._counts)
        self._counts.clear()
        return taken

    def receive(self, *, wait_s: int = WAIT_S) -> tuple[Message, ...]:
        """Up to 10 messages; none where none came within `wait_s`. Blocks for at most 28 s.

        Raises: QueueFailedError.
        """
        answer = self._call(
            _RECEIVE,
            "receive_message",
            MaxNumberOfMessages=MOST_MESSAGES,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=_HIDDEN_S,
        )
        messages = answer.get("Messages", [])
        if not isinstance(messages, list) or not all(isinstance(each, Mapping) for each in messages):
            raise self._failed(INCOMPLETE, _RECEIVE)
        found = (Message(each.get("Body"), str(each.get("ReceiptHandle") or "")) for each in messages)
        return tuple(message for message in found if message.handle)[:MOST_MESSAGES]

    def delete(self, messages: Sequence[Message]) -> None:
        """Deletes what was received. Blocks for at most 28 s. Raises: QueueFailedError for any of them."""
        entries = [{"Id": str(number), "ReceiptHandle": m.handle} for number, m in enumerate(messages)]
        answer = self._call(_DELETE, "delete_message_batch", Entries=entries)
        for refused in answer.get("Failed", []):
            code = refused.get("Code") if isinstance(refused, Mapping) else None
            raise self._failed(replace(INCOMPLETE, detail=str(code)[:64]), _DELETE)

    def try_deleting(self) -> None:
        """Finds out whether we may delete at all, by a handle of no message. Raises: QueueFailedError."""
        self._call(_DELETE, "delete_message_batch", Entries=[{"Id": "0", "ReceiptHandle": _NO_HANDLE}])

    def _call(self, action: str, operation: str, **parameters: object) -> Mapping[str, Any]:
        try:
            with _alarm():
                self._client = self._client or self._open()
                self._is_whole = False
                answer = getattr(self._client, operation)(QueueUrl=self._assignment.queue_url, **parameters)
            if self._is_whole and isinstance(answer, Mapping):
                return answer
            fault = INCOMPLETE
        except _TooLateError:
            fault = replace(NO_ANSWER, detail=f"it did not answer within {_DEADLINE_S:.0f} s")
        except QueueFailedError:
            raise
        except CallFailedError as failed:
            fault = failed.fault
        except Exception as error:  # noqa: BLE001 - its parser raises anything on an answer that lies
            fault = fault_of(error, time.time())
        # Raised outside the handler, so that no error of the SDK stays attached.
        raise self._failed(fault, action)

    def _open(self) -> Any:
        session = new_session(_TIMEOUTS)
        region = self._region(session)
        if region is None:
            raise self._failed(NO_REGION, _RECEIVE)
        # The session keeps what this finds, and renews it; botocore alone would not say that IMDS is out.
        resolve_identity(session, time.time())
        client = session.create_client(
            "sqs",
            region_name=region,
            endpoint_url=self._assignment.endpoint_url,
            config=client_config(_TIMEOUTS),
        )
        client.meta.events.register("before-send.sqs", self._count)
        client.meta.events.register("response-received.sqs", self._look_at)
        return client

    def _region(self, session: Session) -> str | None:
        """A queue is where its URL says; one behind an address of its own is where its source is."""
        named = _REGION_IN_URL.match(self._assignment.queue_url)
        if named is not None:
            return named[1]
        found = (
            self._assignment.region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        )
        return found if isinstance(found, str) else None

    def _look_at(self, response_dict: Mapping[str, Any] | None = None, **_: object) -> None:
        """botocore takes a page of a proxy, and an answer that was cut short, for an empty queue."""
        try:
            self._is_whole = response_dict is not None and isinstance(json.loads(response_dict["body"]), dict)
        except (ValueError, RecursionError):
            self._is_whole = False

    def _count(self, event_name: str, **_: object) -> None:
        self._counts[event_name.rpartition(".")[2]] += 1

    def _failed(self, fault: Fault, action: str) -> QueueFailedError:
        where = self._assignment
        return QueueFailedError(failure(fault, source=where.source, queue=where.queue_url, action=action))


@contextmanager
def _alarm() -> Iterator[None]:
    """Ends what it holds by an exception after the deadline: read timeouts begin anew with each byte."""

    def too_late(_number: int, _frame: object) -> None:
        raise _TooLateError

    signal.signal(signal.SIGALRM, too_late)
    # Again and again: Python drops an exception that strikes inside a destructor.
    signal.setitimer(signal.ITIMER_REAL, _DEADLINE_S, _ALARM_AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
