"""The part of a sealed copy that stands in clear: what it is of, and how old. Pure.

A file begins with a line that names format and version, then the header's length and the header, a JSON
object. All of that is bound to what follows it by the seal.
"""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from secretsd.model import SealedHeader

MAGIC = b"secretsd sealed copy 1\n"
_LENGTH_BYTES = 4
_YEAR_10000_S = 253_402_300_800.0

_header: TypeAdapter[SealedHeader] = TypeAdapter(SealedHeader)


def encode_header(header: SealedHeader) -> bytes:
    """All that comes before the sealed part of the file."""
    document = _header.dump_json(header)
    return MAGIC + len(document).to_bytes(_LENGTH_BYTES) + document


def decode_header(content: bytes) -> tuple[SealedHeader, int]:
    """The header, and how many bytes of `content`, which may be only the first of a file, it takes.

    Raises: ValueError, whose text quotes nothing of the content.
    """
    begin = len(MAGIC) + _LENGTH_BYTES
    if not content.startswith(MAGIC):
        raise ValueError("not a sealed copy of this version")
    end = begin + int.from_bytes(content[len(MAGIC) : begin])
    try:
        header = _header.validate_json(content[begin:end])
    except ValidationError:
        raise ValueError("no header of a sealed copy") from None
    # Nobody has authenticated it yet, and `status` shows its times.
    if not all(0 <= at < _YEAR_10000_S for at in (header.sealed_at, header.confirmed_at)):
        raise ValueError("the times of a sealed copy are in no calendar")
    return header, end
