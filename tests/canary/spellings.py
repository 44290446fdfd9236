"""What stands for a secret in the tests, and every way in which it could be written."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Iterator, Mapping

# Every fake secret of the lab has it in it: whoever finds it has found a secret. It is plain ASCII that JSON,
# shells and URLs leave as it is, so that it is found in what they make of a secret, too; and no memory, log
# or library holds it by chance, which test_canary_gate.py shows of a daemon that has never had a secret.
MARK = "fake-key-"
# A whole secret, for tests that need but one.
MARKER = f"{MARK}marker-7f3a"

Needles = Mapping[bytes, str]  # what is searched for -> the form's name

_LEAST_CHARACTERS = 8
_LEAST_VARIETY = 5


def planted(text: str) -> Mapping[str, tuple[bytes, ...]]:
    """`text` as it may be written, by the form's name; what a test plants to be found."""
    plain = text.encode()
    shifted = [b"x" * shift + plain for shift in range(3)]
    return {
        "raw": (plain,),
        "JSON": tuple(form.encode() for form in _in_json(text)),
        "UTF-16": (text.encode("utf-16-le"), text.encode("utf-16-be")),
        "UTF-32": (text.encode("utf-32-le"), text.encode("utf-32-be")),
        "base64": (*map(base64.b64encode, shifted), *map(base64.urlsafe_b64encode, shifted)),
        "hex": (plain.hex().encode(), plain.hex().upper().encode()),
        "escaped for JSON": tuple(_each(plain, "\\u{:04x}", "\\u{:04X}")),
        "escaped for C": tuple(_each(plain, "\\x{:02x}", "\\x{:02X}")),
        "escaped for URLs": tuple(_each(plain, "%{:02x}", "%{:02X}")),
    }


@functools.cache
def needles(text: str = MARK) -> Needles:
    """What finds `text` in each form, whatever stands around it."""
    plain = text.encode()
    # Without the zeros at both ends it is the same in either byte order.
    found = {
        plain: "raw",
        text.encode("utf-16-le").strip(b"\0"): "UTF-16",
        text.encode("utf-32-le").strip(b"\0"): "UTF-32",
        plain.hex().encode(): "hex",
        plain.hex().upper().encode(): "hex",
    }
    for shift in range(3):
        inside = base64_inside(plain, shift)
        found |= {inside: "base64", inside.translate(bytes.maketrans(b"+/", b"-_")): "base64"}
    for form in ("escaped for JSON", "escaped for C", "escaped for URLs"):
        found |= dict.fromkeys(planted(text)[form], form)
    return found


def needles_of(secrets: Iterable[str]) -> Needles:
    """What finds the mark and each of `secrets` that lacks it, as far as it is one that can be told."""
    found = dict(needles())
    for secret in secrets:
        if MARK not in secret and can_be_told(secret):
            found |= needles(secret)
    return found


def can_be_told(secret: str) -> bool:
    """Whether finding it means something: "abc" stands everywhere."""
    return len(secret) >= _LEAST_CHARACTERS and len(set(secret)) >= _LEAST_VARIETY and secret.isprintable()


def values_in(payload: str) -> Iterator[str]:
    """The secrets in a payload: the texts of a JSON object, or the payload itself."""
    try:
        document = json.loads(payload)
    except ValueError:
        document = payload
    if isinstance(document, dict):
        yield from (value for value in document.values() if isinstance(value, str))
    else:
        yield payload


def base64_inside(text: bytes, shift: int) -> bytes:
    """What base64 makes of `text`, whatever stands around it, `shift` bytes into a group of three."""
    encoded = base64.b64encode(b"\0" * shift + text)
    whole_groups = (shift + len(text)) // 3 * 4
    return encoded[(0, 2, 3)[shift] : whole_groups]


def _in_json(text: str) -> Iterator[str]:
    """As a value, as one that is not ASCII, and as a value of a document in a document."""
    once = json.dumps(text)
    yield from (once, json.dumps(text, ensure_ascii=False), json.dumps(once))


def _each(plain: bytes, *forms: str) -> Iterator[bytes]:
    yield from ("".join(form.format(byte) for byte in plain).encode() for form in forms)
