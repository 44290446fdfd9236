"""The sink in S3: locked batches with their manifests, and locked anchors. Only ever adds; never reads.

Each object is put under a condition: that nothing has its name. A name holds the content's hash, so what
stands there already is what an attempt before has put, and verification shows if it is anything else.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from secretsd.audit.file import stamp
from secretsd.shipping import manifest as bucket
from secretsd.shipping.sinks.aws import Refused, Service
from secretsd.shipping.sinks.interface import Sent

if TYPE_CHECKING:
    from secretsd.audit.chain import Head
    from secretsd.config.shipping import AuditS3
    from secretsd.shipping.pieces import Piece

_THERE = frozenset({"PreconditionFailed"})
_JSON, _GZIP = "application/json", "application/gzip"


class S3:
    """A `Sink` for the bucket of `[audit.s3]`."""

    name = "s3"
    look_every_s = 5.0
    keeps_pieces = True

    def __init__(self, config: AuditS3, now: Callable[[], float] = time.time) -> None:
        self._config = config
        self._now = now
        self._host = os.uname().nodename
        self._service = Service(self.name, "s3", config.region, config.endpoint_url)

    @property
    def limit_bytes(self) -> int:
        return self._config.batch_bytes

    @property
    def batch_age_s(self) -> float:
        return self._config.batch_age_s

    def is_due(self, piece: Piece, waited_s: float, *, is_finished: bool) -> bool:
        is_full = len(piece.data) >= self._config.batch_bytes * 3 // 4
        return is_full or is_finished or waited_s >= self._config.batch_age_s

    def send(self, daemon: str, piece: Piece, receipt: str) -> Sent:
        """The content first: a manifest says that its content is there."""
        manifest = bucket.manifest_of(
            piece, self._config.prefix, self._host, daemon, bucket.before_of(receipt)
        )
        self._put(manifest.content, gzip.compress(piece.data, mtime=0), _GZIP)
        self._put(bucket.manifest_key(manifest), bucket.manifest_bytes(manifest), _JSON)
        return Sent(piece.records, bucket.receipt_of(manifest))

    def anchor(self, daemon: str, head: Head, time_ns: int) -> None:
        anchor = bucket.Anchor(self._host, daemon, head, stamp(time_ns))
        self._put(bucket.anchor_key(self._config.prefix, anchor), bucket.anchor_bytes(anchor), _JSON)

    def _put(self, key: str, body: bytes, content_type: str) -> None:
        until = datetime.fromtimestamp(self._now(), UTC) + timedelta(seconds=self._config.retention_s)
        params = {
            "Bucket": self._config.bucket,
            "Key": key,
            "Body": body,
            "ContentType": content_type,
            # PutObject: either this header or Content-MD5 must be there where an object is locked.
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
            "IfNoneMatch": "*",
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": until,
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": self._config.kms_key,
            "BucketKeyEnabled": True,
        }
        try:
            self._service.ask("put_object", params, _THERE)
        except Refused:
            return
