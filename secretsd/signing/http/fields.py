"""Reads the members of a JSON body as Transit does, which is weakly: "2" is a 2, and "true" is true. Pure.

Every function raises SigningError with the member's name and never with what was sent. A member that is null
counts as one that is missing.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from secretsd.signing.errors import SigningError

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})
_MOST_DIGITS = 20  # of a 64-bit number, with its sign
_LINE_ENDS = str.maketrans("", "", "\r\n")
Body = Mapping[str, Any]


def malformed(reason: str, advice: str = "send one JSON object, as docs/transit.md shows") -> SigningError:
    return SigningError("malformed-request", reason, advice=advice)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise malformed("a name stands twice in one JSON object", "send each member once")
    return made


def _no_constant(_: str) -> NoReturn:
    raise malformed("NaN and Infinity are not JSON", "send a number, or leave the member away")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise malformed("a number in the JSON is too large", "send numbers of 64 bits at most")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer)


def parse(data: bytes) -> Body:
    """The JSON object in `data`; empty where there is none at all. Raises: SigningError."""
    if not data:
        return {}
    try:
        body = _DECODER.decode(data.decode())
    except UnicodeDecodeError:
        raise malformed("the body is not UTF-8") from None
    except RecursionError:
        raise malformed("the JSON is nested too deeply") from None
    except ValueError:
        raise malformed("the body is not JSON") from None
    if not isinstance(body, dict):
        raise malformed("the JSON is not an object")
    return body


def text(body: Body, name: str) -> str | None:
    """A string; of a number its digits, of a boolean 1 or 0."""
    value = body.get(name)
    if value is None or type(value) is str:
        return value
    if isinstance(value, int):
        return str(int(value))
    raise SigningError("bad-parameter", f"{name} is not a string", advice="put it in quotes")


def integer(body: Body, name: str) -> int:
    """A number that fits 32 bits; 0 where it is missing or empty. Strings may say 0x10, too."""
    value = body.get(name)
    if value is None or value == "":
        return 0
    try:
        if isinstance(value, str) and len(value) <= _MOST_DIGITS:
            value = int(value, 0)
    except ValueError:
        pass
    if isinstance(value, int) and -(2**31) <= value < 2**31:
        return int(value)
    raise SigningError("bad-parameter", f"{name} is not an integer", advice="send a number without fraction")


def boolean(body: Body, name: str) -> bool:
    """False where it is missing."""
    value = body.get(name)
    if value is None or value is False:
        return False
    if value is True:
        return True
    word = str(value) if isinstance(value, (int, str)) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise SigningError("bad-parameter", f"{name} is neither true nor false", advice="send true or false")


def base64_bytes(body: Body, name: str, *, missing: bytes | None = None) -> bytes:
    """Bytes in base64 with padding (RFC 4648); line ends in it count for nothing.

    Raises: SigningError also where it is missing and nothing stands for it.
    """
    encoded = text(body, name)
    if encoded is not None:
        return decode_base64(encoded, name)
    if missing is None:
        raise SigningError("bad-parameter", f"{name} is missing", advice=f"send {name}, in base64")
    return missing


def decode_base64(encoded: str, name: str) -> bytes:
    """Raises: SigningError bad-base64."""
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        pass
    try:
        return binascii.a2b_base64(encoded.translate(_LINE_ENDS), strict_mode=True)
    except ValueError:
        raise SigningError(
            "bad-base64",
            f"{name} is not base64",
            advice="encode the bytes with padding and the letters of RFC 4648 section 4",
        ) from None


def decode_base64url(encoded: str, name: str) -> bytes:
    """Of JWS: without padding (RFC 7515). Raises: SigningError bad-base64."""
    padding = "=" * (-len(encoded) % 4)
    return decode_base64(encoded.translate({0x2D: "+", 0x5F: "/"}) + padding, name)
