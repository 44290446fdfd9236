"""Reads a trail's bucket for its verification: every version of every object, hidden ones included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from secretsd.errors import FailureError
from secretsd.shipping.proof.verification import Stored
from secretsd.shipping.sinks.aws import Service
from secretsd.shipping.sinks.interface import SinkError
from secretsd.shipping.sinks.texts import cannot_read

if TYPE_CHECKING:
    from secretsd.errors import Failure

T = TypeVar("T")


class Bucket:
    """The objects below `prefix` of a bucket. Credentials are found as AWS's tools find them."""

    def __init__(self, bucket: str, prefix: str, region: str | None, endpoint_url: str | None) -> None:
        self.prefix = prefix
        self._bucket = bucket
        self._service = Service("s3", "s3", region, endpoint_url)

    def versions(self, host: str | None = None) -> Iterator[Stored]:
        """All versions and delete markers, of one host or of all, as S3 lists them. Raises: FailureError."""
        prefix = self.prefix if host is None else f"{self.prefix}{host}/"
        place: dict[str, object] = {"Bucket": self._bucket, "Prefix": prefix}
        while True:
            answer = _spoken(lambda: self._service.ask("list_object_versions", place))
            for each in answer.get("Versions", ()):
                yield Stored(each["Key"], each["VersionId"], each["LastModified"].timestamp(), each["Size"])
            for each in answer.get("DeleteMarkers", ()):
                at_s = each["LastModified"].timestamp()
                yield Stored(each["Key"], each["VersionId"], at_s, is_marker=True)
            if not answer.get("IsTruncated"):
                return
            place["KeyMarker"] = answer["NextKeyMarker"]
            place["VersionIdMarker"] = answer["NextVersionIdMarker"]

    def read(self, stored: Stored) -> bytes:
        """The bytes of a version. Raises: FailureError."""
        params = {"Bucket": self._bucket, "Key": stored.key, "VersionId": stored.version}
        return _spoken(lambda: self._service.read(params))


def _spoken(call: Callable[[], T]) -> T:
    """The result of `call`, whose failure is told to a reader."""
    failure: Failure | None = None
    try:
        return call()
    except SinkError as error:
        failure = cannot_read(error.failure)
    raise FailureError(failure)
