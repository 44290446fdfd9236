"""What the daemon and the notify helper say to each other: one JSON line each way on one connection.

Imported by a root program that is started for every rotation: the standard library only, and little of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from secretsd.errors import UsageError
from secretsd.model import UnitReport

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_PATH = "/run/secretsd-notify.sock"
MAX_REQUEST_BYTES = 4096
MAX_REPLY_BYTES = 16384
MAX_SENTENCE_CHARS = 600  # of a message or an advice, so that a reply stays below its limit
READ_TIMEOUT_S = 2.0
LOOK_TIMEOUT_S = 10.0  # for `systemctl show`
JOB_TIMEOUT_S = 60.0  # for a job, with the wait for a unit that is in the middle of a start or a stop
# What a caller should wait for an answer: a job at its limit, and the looks at the unit before and after it.
ANSWER_TIMEOUT_S = JOB_TIMEOUT_S + 2 * LOOK_TIMEOUT_S

# How long a `before` program that was told to end may take, and what systemd may need around it.
STOP_TIMEOUT_S = 5.0
BEFORE_GRACE_S = STOP_TIMEOUT_S + 2 * LOOK_TIMEOUT_S

OUTCOMES = frozenset({"acted", "current", "inactive", "starting", "due", "willing", "unwilling", "failed"})
_MAX_NAME_CHARS = 255
_MAX_GENERATION = 2**63
_MAX_SECONDS = 1e12


@dataclass(frozen=True, slots=True)
class ActRequest:
    """See that `unit` runs on `generation` of `bundle`, which was published at `published_monotonic` (s)."""

    bundle: str
    unit: str
    generation: int
    published_monotonic: float


@dataclass(frozen=True, slots=True)
class LookRequest:
    """Say what `ActRequest` with the same fields would find, and do nothing."""

    bundle: str
    unit: str
    generation: int
    published_monotonic: float


@dataclass(frozen=True, slots=True)
class BeforeRequest:
    """Run the `before` of `unit` in root's configuration and say whether the unit may be touched."""

    bundle: str
    unit: str
    generation: int


@dataclass(frozen=True, slots=True)
class ConfirmRequest:
    """Say whether `unit` is still active in `invocation`, having been told of a change at `acted_monotonic`.

    `acted_monotonic` (seconds of CLOCK_MONOTONIC, None for unknown) only makes the answer more telling.
    """

    bundle: str
    unit: str
    invocation: str
    acted_monotonic: float | None = None


Request = ActRequest | LookRequest | BeforeRequest | ConfirmRequest

_OPERATIONS = {ActRequest: "act", LookRequest: "look", BeforeRequest: "before", ConfirmRequest: "confirm"}
_KEYS = {
    "act": frozenset({"operation", "bundle", "unit", "generation", "published_monotonic"}),
    "look": frozenset({"operation", "bundle", "unit", "generation", "published_monotonic"}),
    "before": frozenset({"operation", "bundle", "unit", "generation"}),
    "confirm": frozenset({"operation", "bundle", "unit", "invocation", "acted_monotonic"}),
}


def encode_request(request: Request) -> bytes:
    """`request` as its line.

    Raises: UsageError where the helper would refuse it unread.
    """
    line = _line({"operation": _OPERATIONS[type(request)], **asdict(request)})
    decode_request(line)
    return line


def decode_request(line: bytes) -> Request:
    """The request in `line`; every field has its type and its range, names are printable and without blanks.

    Raises: UsageError, with a text that repeats nothing of the line.
    """
    if len(line) > MAX_REQUEST_BYTES:
        raise UsageError(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
    table = _object(line)
    operation = table.get("operation")
    if not isinstance(operation, str) or operation not in _KEYS:
        raise UsageError(f'"operation" must be one of {", ".join(_KEYS)}')
    if not table.keys() <= _KEYS[operation]:
        raise UsageError(f"the request has keys that {operation} does not know")
    bundle, unit = _name(table, "bundle"), _name(table, "unit")
    if operation in ("act", "look"):
        kind = ActRequest if operation == "act" else LookRequest
        return kind(bundle, unit, _generation(table), _seconds(table, "published_monotonic"))
    if operation == "before":
        return BeforeRequest(bundle, unit, _generation(table))
    acted = None if table.get("acted_monotonic") is None else _seconds(table, "acted_monotonic")
    return ConfirmRequest(bundle, unit, _invocation(table), acted)


def encode_reply(report: UnitReport, *, code: str = "") -> bytes:
    """`report` as its line; `code` says in one word for the log and for tests why a request was refused."""
    table = asdict(report)
    table["message"] = one_line(report.message, max_chars=MAX_SENTENCE_CHARS)
    table["advice"] = one_line(report.advice, max_chars=MAX_SENTENCE_CHARS)
    return _line({**table, "code": code} if code else table)


def decode_reply(line: bytes) -> UnitReport:
    """The report in `line`.

    Raises: UsageError when this is not a whole reply.
    """
    table = _object(line)
    outcome, main_pid = table.get("outcome"), table.get("main_pid", 0)
    texts = {key: table.get(key, "") for key in ("message", "advice", "invocation")}
    if outcome not in OUTCOMES or type(main_pid) is not int:
        raise UsageError("the reply has no known outcome")
    if not all(isinstance(text, str) for text in texts.values()):
        raise UsageError("the reply's texts are not texts")
    return UnitReport(outcome=str(outcome), main_pid=main_pid, **{k: str(v) for k, v in texts.items()})


def one_line(text: str, *, max_chars: int) -> str:
    """`text` without line breaks or control characters, its runs of blanks made one, cut at `max_chars`."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= max_chars else line[: max_chars - 3] + "..."


def _line(table: Mapping[str, object]) -> bytes:
    return json.dumps(table, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _object(line: bytes) -> dict[str, object]:
    try:
        table = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("this is not a line of JSON") from None
    if not isinstance(table, dict):
        raise UsageError("this is not a JSON object")
    return table


def _name(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME_CHARS:
        raise UsageError(f'"{key}" must be a text of 1 to {_MAX_NAME_CHARS} characters')
    # It will stand in a log line: nothing that could end the line or forge another.
    if not value.isascii() or not value.isprintable() or " " in value:
        raise UsageError(f'"{key}" must be printable ASCII without blanks')
    return value


def _generation(table: Mapping[str, object]) -> int:
    value = table.get("generation")
    if type(value) is not int or not 0 <= value < _MAX_GENERATION:
        raise UsageError('"generation" must be a whole number from 0')
    return value


def _seconds(table: Mapping[str, object], key: str) -> float:
    value = table.get(key)
    # The upper bound also keeps out Infinity, NaN (which compares as false) and ints too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_SECONDS:
        raise UsageError(f'"{key}" must be a number of seconds from 0')
    return float(value)


def _invocation(table: Mapping[str, object]) -> str:
    value = table.get("invocation")
    if not isinstance(value, str) or len(value) != 32 or set(value) - set("0123456789abcdef"):
        raise UsageError('"invocation" must be 32 lower-case hexadecimal digits')
    return value
