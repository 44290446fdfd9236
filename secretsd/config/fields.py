"""The kinds of value that the configuration's fields hold, each with the sentence that refuses a wrong one.

Every sentence is constant text: it ends a line that starts with the field's name, and nothing that stands
in the file travels in it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, LiteralString, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from secretsd.config.names import is_valid_name
from secretsd.config.units import OWN_UNITS, SIGNAL_NAMES, is_service_name
from secretsd.signing.model import RateLimit
from secretsd.timespan import parse_timespan

REFUSED = "refused"  # the type of our own errors among pydantic's
RESERVED_BUNDLE_NAMES = frozenset({"control.sock", "metrics.sock"})

_MAX_TEXT_CHARS = 2048  # the longest id of Secrets Manager (CreateSecret)
_MAX_SOCKET_PATH_BYTES = 107  # sun_path, unix(7)
_MAX_OUTPUT_PATH_BYTES = 1024
_MAX_COMPONENT_BYTES = 255
_MAX_COMMAND_BYTES = 4096
_LONGEST_BEFORE_S = 300.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_RATE = re.compile(r"([0-9]{1,9})/([smh])")
_LOOPBACK = re.compile(r"127(\.(0|[1-9][0-9]{0,2})){3}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_SIZE = re.compile(r"([0-9]{1,6})([KMG])")
_OBJECT_ID = re.compile(r"([0-9a-f]{2}){1,64}")
_COUNTER = re.compile(r"tpm:0x1[0-9a-f]{6}")  # the handles of NV indices begin with 01
_MOST_SESSIONS = 512
_LARGEST_MESSAGE_BYTES = 61440
_LONGEST_TOKEN_TEXT_BYTES = 64
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")

TIME_SPAN = "time span"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Kind:
    """What secretsd.toml(5) calls the values of a field. pydantic passes it over."""

    words: str


def refused(text: LiteralString, *, key: str = "", also: Sequence[LiteralString] = ()) -> PydanticCustomError:
    """The error for `text`; `key` is the key of the table at fault where the whole table was judged.

    `also` holds what else is wrong with the table: a validator can raise one error only.
    """
    return PydanticCustomError(REFUSED, text, {"key": key, "also": list(also)})


def _only(is_good: Callable[[str], object], text: LiteralString) -> AfterValidator:
    def check(value: str) -> str:
        if not is_good(value):
            raise refused(text)
        return value

    return AfterValidator(check)


def _not_empty(value: _T) -> _T:
    if not value:
        raise refused("must not be empty")
    return value


def _two_or_more(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 2:
        raise refused("must be a group of two variables or more: one alone depends on no other")
    return names


def _timespan(value: object) -> float:
    if isinstance(value, float):  # seconds, from code; a fraction in a file arrives as Decimal
        return value
    if not isinstance(value, str):
        raise refused('must be a time span in quotes, such as "30s", "5m" or "1h 30m"')
    try:
        return parse_timespan(value)
    except ValueError:
        raise refused('must be a time span such as "30s", "5m" or "1h 30m"') from None


def _at_least_a_second(seconds: float) -> float:
    if seconds < 1:
        raise refused("must be at least 1s")
    return seconds


def _absolute_path(value: object) -> Path:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise refused("must be an absolute path")
    if ".." in value.split("/"):
        raise refused('must not contain ".."')
    return Path(value)


def _fits_a_socket(path: Path) -> Path:
    if len(bytes(path)) > _MAX_SOCKET_PATH_BYTES:
        raise refused("is too long for a socket: the kernel takes at most 107 bytes")
    return path


def _command_or_none(words: tuple[str, ...]) -> tuple[str, ...]:
    return _command(words) if words else words


def _alert_limit(value: int) -> int:
    if not 2 <= value <= 3600:
        raise refused("must be 2 to 3600: a trouble and its end take two")
    return value


def _output_path(value: str) -> str:
    parts = value.split("/")
    if value.startswith("/"):
        raise refused("must be relative: it lies inside the bundle's directory")
    if ".." in parts:
        raise refused('must not contain "..": it lies inside the bundle\'s directory')
    if not value.isprintable() or "" in parts:
        raise refused('must be a file name, or directories and a file name joined by single "/"')
    if any(part.startswith(".") for part in parts):
        raise refused('must not have a part that starts with ".": those names belong to secretsd')
    if len(value.encode()) > _MAX_OUTPUT_PATH_BYTES or any(
        len(part.encode()) > _MAX_COMPONENT_BYTES for part in parts
    ):
        raise refused("is too long: at most 255 bytes a part, 1024 in all")
    return value


def _is_endpoint(value: str) -> bool:
    try:
        url = urlsplit(value)
        port_is_good = url.port is None or url.port > 0
    except ValueError:
        return False
    bare = not (url.username or url.password or url.query or url.fragment or "@" in url.netloc)
    clean = value.isprintable() and " " not in value
    return url.scheme in ("http", "https") and bool(url.hostname) and bare and clean and port_is_good


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        raise refused("must be a number")
    return Decimal(value)


def _bits(value: object) -> float:
    number = _number(Decimal(repr(value)) if isinstance(value, float) else value)
    if number <= 0:
        raise refused("must be more than 0")
    return float(number)


def _above_zero(count: int) -> int:
    if count < 1:
        raise refused("must be at least 1")
    return count


def _before_timeout(seconds: float) -> float:
    # The helper's own life is limited to 10 minutes, and a reload waits for the answer.
    if seconds > _LONGEST_BEFORE_S:
        raise refused("must be at most 5m")
    return seconds


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0].startswith("/") or words[0].endswith("/"):
        raise refused('must begin with the absolute path of a program, such as ["/usr/local/bin/is-flat"]')
    if not all(word.isprintable() for word in words):
        raise refused("must not contain control characters")
    if sum(len(word.encode()) + 1 for word in words) > _MAX_COMMAND_BYTES:
        raise refused("is longer than 4096 bytes")
    return words


def _is_place(value: str) -> bool:
    kind, _, rest = value.partition(":")
    if kind == "credential":
        return _CREDENTIAL.fullmatch(rest) is not None
    return kind == "file" and rest.startswith("/") and rest.isprintable() and ".." not in rest.split("/")


def _is_vault_address(value: str) -> bool:
    scheme, _, path = value.partition("://")
    if scheme != "unix":
        return _is_endpoint(value)
    return path.startswith("/") and path.isprintable() and len(path.encode()) <= _MAX_SOCKET_PATH_BYTES


def _is_loopback_port(value: str) -> bool:
    host, _, port = value.rpartition(":")
    is_loopback = host == "[::1]" or _LOOPBACK.fullmatch(host) is not None
    return is_loopback and _PORT.fullmatch(port) is not None and int(port) < 65536


def _rate(value: object) -> RateLimit:
    if isinstance(value, RateLimit):
        return value
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not int(found[1]):
        raise refused('must be a number of uses a second, minute or hour, such as "50/s" or "600/m"')
    return RateLimit(int(found[1]), {"s": 1.0, "m": 60.0, "h": 3600.0}[found[2]])


def _file_size(value: object) -> int:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(found[1]) * 1024 ** (1 + "KMG".index(found[2])) if found else 0
    if size < 1 << 20:
        raise refused('must be a size of at least 1M in quotes, such as "64M" or "1G"')
    return size


def _session_count(value: int) -> int:
    if not 1 <= value <= _MOST_SESSIONS:
        raise refused("must be 1 to 512: CloudHSM has 1,024 sessions for one application")
    return value


def _message_bytes(value: int) -> int:
    if not 1 <= value <= _LARGEST_MESSAGE_BYTES:
        raise refused("must be 1 to 61440: a request is at most 64 KiB")
    return value


def _regex(value: str) -> str:
    try:
        with warnings.catch_warnings():
            # What re foresees for later versions is said on stderr, with the pattern's place in our code.
            warnings.simplefilter("ignore")
            re.compile(value)
    except (re.error, OverflowError, RecursionError):
        raise refused("is not a regular expression that Python's re understands") from None
    return value


Text = Annotated[
    str,
    Kind("text"),
    AfterValidator(_not_empty),
    _only(str.isprintable, "must not contain control characters"),
    _only(lambda value: len(value) <= _MAX_TEXT_CHARS, "is longer than 2048 characters"),
]
Name = Annotated[
    str,
    Kind('1 to 64 of a-z, 0-9, ".", "_", "-"'),
    _only(_NAME.fullmatch, 'must be 1 to 64 of a-z, 0-9, ".", "_", "-", and start with a letter or digit'),
]
BundleName = Annotated[
    Name, _only(lambda name: name not in RESERVED_BUNDLE_NAMES, "is the name of secretsd's own socket")
]
VariableName = Annotated[
    str,
    Kind("name of a variable: letters, digits and _"),
    _only(is_valid_name, "must be made of letters, digits and _, and not start with a digit"),
]
UserName = Annotated[str, Kind("name of a user"), _only(_USER.fullmatch, "must be the name of a user")]
Region = Annotated[
    str,
    Kind("name of a region"),
    _only(_REGION.fullmatch, 'must be the name of a region, such as "us-east-1"'),
]
EndpointUrl = Annotated[
    str,
    Kind("http:// or https:// URL"),
    _only(_is_endpoint, "must be an http:// or https:// URL without user, password, query or fragment"),
]
UnitName = Annotated[
    str,
    Kind("full name of a service"),
    _only(
        is_service_name,
        'must be the full name of one service, such as "bot.service" or "bot@live.service"',
    ),
    _only(
        lambda unit: unit not in OWN_UNITS,
        "is a part of secretsd: name the service that uses its files or keys",
    ),
]
SignalName = Annotated[
    str,
    Kind("one of " + ", ".join(SIGNAL_NAMES)),
    _only(lambda name: name in SIGNAL_NAMES, "must be one of " + ", ".join(SIGNAL_NAMES)),
]

TokenText = Annotated[
    Text,
    Kind("label of at most 64 bytes"),
    _only(lambda value: len(value.encode()) <= _LONGEST_TOKEN_TEXT_BYTES, "is longer than 64 bytes"),
]
ObjectId = Annotated[
    str,
    Kind("hexadecimal digits"),
    _only(_OBJECT_ID.fullmatch, "must be pairs of hexadecimal digits in lower case"),
]
PinPlace = Annotated[
    str,
    Kind("credential:NAME or file:PATH"),
    _only(_is_place, "must be credential:NAME or file:/ABSOLUTE/PATH: the PIN itself never stands here"),
]
CredentialPlace = Annotated[
    str,
    Kind("credential:NAME or file:PATH"),
    _only(_is_place, "must be credential:NAME or file:/ABSOLUTE/PATH: the value itself never stands here"),
]
CounterPlace = Annotated[
    str,
    Kind("tpm:HANDLE"),
    _only(_COUNTER.fullmatch, "must be tpm:0x1XXXXXX, an index of the TPM: secretsctl seal-setup --counter"),
]
VaultAddress = Annotated[
    str,
    Kind("http://, https:// or unix:// URL"),
    _only(
        _is_vault_address,
        "must be an http:// or https:// URL without user, password, query or fragment, or unix:///PATH",
    ),
]
LoopbackPort = Annotated[
    str,
    Kind("loopback address and port"),
    _only(
        _is_loopback_port,
        'must be a port of the loopback, such as "127.0.0.1:9478" or "[::1]:9478": what is served names'
        " secrets and units, unencrypted and to whoever asks",
    ),
]
Rate = Annotated[RateLimit, Kind("number of uses and /s, /m or /h"), BeforeValidator(_rate)]
FileSize = Annotated[int, Kind("size of at least 1M"), BeforeValidator(_file_size)]
SessionCount = Annotated[int, Kind("whole number of 1 to 512"), AfterValidator(_session_count)]
MessageBytes = Annotated[int, Kind("whole number of 1 to 61440"), AfterValidator(_message_bytes)]

TimeSpan = Annotated[float, Kind(TIME_SPAN), BeforeValidator(_timespan)]
Interval = Annotated[TimeSpan, Kind(f"{TIME_SPAN} of at least 1s"), AfterValidator(_at_least_a_second)]
AbsolutePath = Annotated[Path, Kind("absolute path"), BeforeValidator(_absolute_path)]
SocketPath = Annotated[
    AbsolutePath, Kind("absolute path of at most 107 bytes"), AfterValidator(_fits_a_socket)
]
OutputPath = Annotated[str, Kind("relative path"), AfterValidator(_output_path)]
Number = Annotated[Decimal, Kind("number"), BeforeValidator(_number)]
Bits = Annotated[float, Kind("number above 0"), BeforeValidator(_bits)]
Count = Annotated[int, Kind("whole number, not negative"), Field(ge=0)]
Regex = Annotated[str, Kind("regular expression"), AfterValidator(_regex)]

# TOML's arrays arrive as lists, which strict mode would not take for a tuple; their items stay strict.
Several = Annotated[tuple[_T, ...], Field(strict=False)]
OneOrMore = Annotated[Several[_T], AfterValidator(_not_empty)]
NotEmpty = AfterValidator(_not_empty)
Group = Annotated[
    Several[VariableName], Kind("arrays of two or more names of variables"), AfterValidator(_two_or_more)
]
Command = Annotated[Several[str], Kind("array of an absolute path and arguments"), AfterValidator(_command)]
CommandOrNone = Annotated[
    Several[str], Kind("array of an absolute path and arguments, or empty"), AfterValidator(_command_or_none)
]
BeforeTimeout = Annotated[Interval, Kind(f"{TIME_SPAN} of 1s to 5m"), AfterValidator(_before_timeout)]
AtLeastOne = Annotated[int, Kind("whole number of at least 1"), AfterValidator(_above_zero)]
AlertLimit = Annotated[int, Kind("whole number of 2 to 3600"), AfterValidator(_alert_limit)]
