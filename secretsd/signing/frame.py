"""The native protocol's frames: one SOCK_SEQPACKET message each, big-endian. Pure.

docs/native-protocol.md says it for other languages, with test vectors.
"""

from __future__ import annotations

import struct

from secretsd.signing.errors import KINDS, SigningError
from secretsd.signing.model import Answer, Hash, Marshaling, Operation, Padding, Request

VERSION = 1
MAX_FRAME_BYTES = 65536

# version, operation, flags, hash, marshaling or padding, length of the key's name, salt length, key version,
# length of the associated data, length of `check`, request id, deadline
_HEAD = struct.Struct("!BBBBBBhIIIQQ")
# version, error number (0: none), flags, 0, key version, request id
_ANSWER = struct.Struct("!BBBBIQ")
HEAD_BYTES = _HEAD.size
ANSWER_BYTES = _ANSWER.size

FLAG_PREHASHED = 1
FLAG_CHECK_IS_HMAC = 2
_KNOWN_FLAGS = FLAG_PREHASHED | FLAG_CHECK_IS_HMAC
ANSWER_RETRYABLE = 1

OPERATIONS = {
    1: Operation.SIGN,
    2: Operation.VERIFY,
    3: Operation.HMAC,
    4: Operation.PUBLIC_KEY,
    5: Operation.ENCRYPT,
    6: Operation.DECRYPT,
}
HASHES: dict[int, Hash | None] = {0: None, 1: Hash.SHA2_256, 2: Hash.SHA2_384, 3: Hash.SHA2_512}
_MARSHALINGS = {each.value: each for each in Marshaling}
_PADDINGS = {each.value: each for each in Padding}
_SCHEME_IS_PADDING = 0x80


class MalformedFrame(Exception):  # noqa: N818 - what it is
    """A frame that says nothing. `request_id` is 0 where not even that can be read."""

    def __init__(self, reason: str, request_id: int = 0) -> None:
        super().__init__(reason)
        self.request_id = request_id


def decode_request(frame: bytes) -> tuple[int, Request]:
    """The request id and the request. Raises: MalformedFrame."""
    if len(frame) < HEAD_BYTES:
        raise MalformedFrame(f"a frame has at least {HEAD_BYTES} bytes")
    (
        version,
        operation,
        flags,
        hash_,
        scheme,
        name_bytes,
        salt,
        key_version,
        aad_bytes,
        check_bytes,
        *last,
    ) = _HEAD.unpack_from(frame)
    request_id, deadline_ns = last
    if version != VERSION:
        raise MalformedFrame(f"this signer speaks version {VERSION} of the protocol", request_id)
    if operation not in OPERATIONS or hash_ not in HASHES or flags & ~_KNOWN_FLAGS:
        raise MalformedFrame("unknown operation, hash or flag", request_id)
    start = HEAD_BYTES + name_bytes
    aad_end = start + aad_bytes
    check_end = aad_end + check_bytes
    if not name_bytes or check_end > len(frame):
        raise MalformedFrame("the lengths in the head do not fit the frame", request_id)
    try:
        name = frame[HEAD_BYTES:start].decode("ascii")
    except UnicodeDecodeError:
        raise MalformedFrame("the key's name is not ASCII", request_id) from None
    marshaling, padding = Marshaling.ASN1, Padding.PSS
    try:
        if scheme & _SCHEME_IS_PADDING:
            padding = _PADDINGS[scheme & ~_SCHEME_IS_PADDING]
        else:
            marshaling = _MARSHALINGS[scheme]
    except KeyError:
        raise MalformedFrame("unknown marshaling or padding", request_id) from None
    return request_id, Request(
        OPERATIONS[operation],
        name,
        frame[check_end:],
        key_version,
        HASHES[hash_],
        bool(flags & FLAG_PREHASHED),
        marshaling,
        padding,
        salt,
        frame[aad_end:check_end],
        frame[start:aad_end],
        deadline_ns,
        bool(flags & FLAG_CHECK_IS_HMAC),
    )


def encode_answer(request_id: int, answer: Answer | SigningError) -> bytes:
    """The frame that answers. An error's payload is its code, a zero byte, and a sentence in UTF-8."""
    if isinstance(answer, Answer):
        return _ANSWER.pack(VERSION, 0, 0, 0, answer.version, request_id) + answer.payload
    kind = KINDS[answer.code]
    flags = ANSWER_RETRYABLE if answer.retryable else 0
    head = _ANSWER.pack(VERSION, kind.number, flags, 0, 0, request_id)
    return head + answer.code.encode() + b"\0" + answer.sentence.encode()
