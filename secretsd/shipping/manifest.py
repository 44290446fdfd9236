"""What stands in the bucket: names of batches, manifests, anchors. Pure; docs/shipper.md has the schema.

Nothing here holds the time of the upload or anything else that a second attempt would say otherwise: what is
sent again has the same name and, but for the compression, the same bytes. The time is the bucket's to tell.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secretsd.audit.chain import Head

if TYPE_CHECKING:
    from secretsd.shipping.pieces import Piece

SCHEMA = 1
CONTENT, MANIFEST = ".jsonl.gz", ".manifest.json"
SHOWN_DIGITS = 32
# No file is so long, and none that is restored may be: what says otherwise is no shipper's.
_LONGEST_FILE_BYTES = 1 << 40
_HIGHEST_RECORD = 10**18
_LARGEST_MANIFEST_BYTES = 1 << 16
_HASH, _FILE = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
_ANCHOR_NAME = re.compile(r"([0-9TZ:.-]{27})-(\d{20})-([0-9a-f]{32})\.json")


@dataclass(frozen=True, slots=True)
class Before:
    """The manifest of the batch before: its key, and the SHA-256 of its bytes in hexadecimal digits."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a batch is: `size` bytes of the audit file `file` from `offset` on, records `first` to `head`."""

    host: str
    daemon: str
    file: str
    offset: int
    size: int
    records: int
    first: int
    follows: Head
    head: Head
    sha256: str  # of the content, not compressed; hexadecimal digits
    content: str  # its key
    before: Before | None
    missing: int = 0
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """At `time` a chain's last record was `head`."""

    host: str
    daemon: str
    head: Head
    time: str


def place_of(prefix: str, host: str, daemon: str) -> str:
    """Where a chain's objects are, with a slash at the end."""
    return f"{prefix}{host}/{daemon}/"


def manifest_of(piece: Piece, prefix: str, host: str, daemon: str, before: Before | None) -> Manifest:
    digest = hashlib.sha256(piece.data).hexdigest()
    name = f"{piece.first:020d}-{piece.head.seq:020d}-{digest[:SHOWN_DIGITS]}"
    return Manifest(
        host=host,
        daemon=daemon,
        file=piece.file,
        offset=piece.offset,
        size=len(piece.data),
        records=piece.records,
        first=piece.first,
        follows=piece.follows,
        head=piece.head,
        sha256=digest,
        content=f"{place_of(prefix, host, daemon)}batches/{name}{CONTENT}",
        before=before,
        missing=piece.missing,
        flaw=piece.flaw,
    )


def manifest_key(manifest: Manifest) -> str:
    """Its own digest is in it: a shipper that begins again may ship the same content behind another batch."""
    own = hashlib.sha256(manifest_bytes(manifest)).hexdigest()[:SHOWN_DIGITS]
    return f"{manifest.content.removesuffix(CONTENT)}-{own}{MANIFEST}"


def anchor_key(prefix: str, anchor: Anchor) -> str:
    """Sorted by time."""
    name = f"{anchor.time}-{anchor.head.seq:020d}-{anchor.head.hash[:SHOWN_DIGITS].decode()}"
    return f"{place_of(prefix, anchor.host, anchor.daemon)}anchors/{name}.json"


def manifest_bytes(manifest: Manifest) -> bytes:
    """As it stands in the bucket."""
    said: dict[str, object] = {
        "schema": SCHEMA,
        "host": manifest.host,
        "daemon": manifest.daemon,
        "file": manifest.file,
        "offset": manifest.offset,
        "bytes": manifest.size,
        "records": manifest.records,
        "first": manifest.first,
        "follows": _head(manifest.follows),
        "head": _head(manifest.head),
        "sha256": manifest.sha256,
        "content": manifest.content,
        "before": None if manifest.before is None else _link(manifest.before),
    }
    if manifest.missing:
        said["missing"] = manifest.missing
    if manifest.flaw:
        said["flaw"] = manifest.flaw
    return _line(said)


def anchor_bytes(anchor: Anchor) -> bytes:
    """As it stands in the bucket."""
    head = _head(anchor.head)
    return _line(
        {"schema": SCHEMA, "host": anchor.host, "daemon": anchor.daemon, "time": anchor.time, **head}
    )


def read_manifest(data: bytes) -> Manifest | None:
    """The manifest that `data` is; None where it is none."""
    said = _object(data)
    try:
        before = said["before"]
        return Manifest(
            host=_text(said["host"]),
            daemon=_text(said["daemon"]),
            file=_digits(said["file"], _FILE),
            offset=_count(said["offset"], _LONGEST_FILE_BYTES),
            size=_count(said["bytes"], _LONGEST_FILE_BYTES),
            records=_count(said["records"]),
            first=_count(said["first"]),
            follows=_read_head(said["follows"]),
            head=_read_head(said["head"]),
            sha256=_digits(said["sha256"], _HASH),
            content=_text(said["content"]),
            before=None if before is None else Before(_text(before["key"]), _text(before["sha256"])),
            missing=_count(said.get("missing", 0)),
            flaw=_text(said.get("flaw", "")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def read_anchor_key(key: str) -> tuple[str, int, str] | None:
    """Time, record and the beginning of its hash, as `anchor_key` has them; None where it is no such key.

    The name is all there is to know, and a listing of a bucket is quicker than millions of small objects.
    """
    found = _ANCHOR_NAME.fullmatch(key.rpartition("/")[2])
    return (found[1], int(found[2]), found[3]) if found else None


def _link(before: Before) -> dict[str, str]:
    return {"key": before.key, "sha256": before.sha256}


def receipt_of(manifest: Manifest) -> str:
    """What the next batch has to know of this one."""
    digest = hashlib.sha256(manifest_bytes(manifest)).hexdigest()
    return json.dumps(_link(Before(manifest_key(manifest), digest)))


def before_of(receipt: str) -> Before | None:
    """What `receipt_of` has said; None where there is none, or one that it never said: begun again."""
    try:
        said = json.loads(receipt) if receipt else None
        return None if said is None else Before(_text(said["key"]), _digits(said["sha256"], _HASH))
    except (KeyError, TypeError, ValueError):
        return None


def _line(said: dict[str, object]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _head(head: Head) -> dict[str, object]:
    return {"seq": head.seq, "hash": head.hash.decode()}


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data) if len(data) <= _LARGEST_MANIFEST_BYTES else None
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and said.get("schema") == SCHEMA else {}


def _read_head(said: Any) -> Head:
    return Head(_count(said["seq"]), _digits(said["hash"], _HASH).encode())


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _digits(value: object, form: re.Pattern[str]) -> str:
    text = _text(value)
    if not form.fullmatch(text):
        raise ValueError
    return text


def _count(value: object, most: int = _HIGHEST_RECORD) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise TypeError
    return value
