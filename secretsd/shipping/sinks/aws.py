"""The shipper's calls of AWS: quiet, once each, and what goes wrong in our words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from secretsd.errors import FailureClass
from secretsd.refresh.sources.aws.errors import fault_of_exception
from secretsd.refresh.sources.aws.session import Timeouts, client_config, new_client, new_session
from secretsd.shipping.sinks.interface import SinkError
from secretsd.shipping.sinks.texts import KNOWN, failure_of

if TYPE_CHECKING:
    from secretsd.errors import Failure
    from secretsd.refresh.sources.aws.session import ServiceName

# A batch of 64 MiB has to fit through a slow line; nobody waits for it but the batches behind it.
_TIMEOUTS = Timeouts(connect_s=5.0, read_s=20.0)

# What the services say beyond what all of AWS says: code of AWS -> our code, and who has to act.
_OWN: Mapping[str, tuple[str, FailureClass]] = {
    "NoSuchBucket": ("bucket-missing", FailureClass.REFUSAL),
    "PermanentRedirect": ("wrong-region", FailureClass.REFUSAL),
    "AuthorizationHeaderMalformed": ("wrong-region", FailureClass.REFUSAL),
    "IllegalLocationConstraintException": ("wrong-region", FailureClass.REFUSAL),
    "KMS.NotFoundException": ("decryption-failed", FailureClass.REFUSAL),
    "KMS.DisabledException": ("decryption-failed", FailureClass.REFUSAL),
    "KMS.KMSInvalidStateException": ("decryption-failed", FailureClass.REFUSAL),
    "ObjectLockConfigurationNotFoundError": ("no-object-lock", FailureClass.REFUSAL),
    # Two attempts at once: one of them is told to come again.
    "ConditionalRequestConflict": ("server-error", FailureClass.TRANSIENT),
    "BadDigest": ("incomplete-answer", FailureClass.TRANSIENT),
    "XAmzContentChecksumMismatch": ("incomplete-answer", FailureClass.TRANSIENT),
}
_LOCK_WORDS = re.compile("Object ?Lock")


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """AWS answered with a code that the caller has asked to see; `code` is AWS's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Service:
    """One service of AWS for one sink. Nothing is contacted, and no client made, before the first call."""

    def __init__(self, sink: str, service: ServiceName, region: str | None, endpoint_url: str | None) -> None:
        self._sink = sink
        self._service: ServiceName = service
        self._region = region
        self._endpoint_url = endpoint_url
        self._client: Any = None

    def ask(
        self, operation: str, params: Mapping[str, object], seen: frozenset[str] = frozenset()
    ) -> Mapping[str, Any]:
        """The answer. Blocks for 25 s where nothing comes back.

        Raises:
            Refused: AWS answered with one of the codes in `seen`.
            SinkError: anything else went wrong.
        """
        answer: Mapping[str, Any] = self._called(lambda client: getattr(client, operation)(**params), seen)
        return answer

    def read(self, params: Mapping[str, object]) -> bytes:
        """The bytes of an object of S3. Raises: SinkError."""
        return bytes(self._called(lambda client: client.get_object(**params)["Body"].read(), frozenset()))

    def _called(self, call: Callable[[Any], Any], seen: frozenset[str]) -> Any:
        refused, failure = "", None
        try:
            answer = call(self._connected())
        except Exception as error:  # noqa: BLE001 - botocore's parser raises anything on an answer that lies
            code = _code(error)
            if code in seen:
                refused = code
            else:
                failure = self._failure(error, code)
        else:
            return answer
        # Raised outside the handler, so that no error of the SDK stays attached.
        if failure is None:
            raise Refused(refused)
        if failure.failure_class is FailureClass.IDENTITY:
            self._client = None  # a client keeps the credentials, or the lack of them, that it began with
        raise SinkError(failure)

    def _connected(self) -> Any:
        if self._client is None:
            session = new_session(_TIMEOUTS)
            region = self._region or session.get_config_variable("region")
            # What is read is compared with its manifest; what S3 says of it shows less.
            own = Config(response_checksum_validation="when_required")
            if self._endpoint_url:
                own = own.merge(Config(s3={"addressing_style": "path"}))
            self._client = new_client(
                session,
                self._service,
                region_name=region,
                endpoint_url=self._endpoint_url,
                aws_access_key_id=None,
                aws_secret_access_key=None,
                config=client_config(_TIMEOUTS).merge(own),
            )
        return self._client

    def _failure(self, error: Exception, code: str) -> Failure:
        if code in _OWN:
            ours, failure_class = _OWN[code]
            return failure_of(ours, failure_class, self._sink, code)
        if code == "InvalidRequest" and _LOCK_WORDS.search(str(error)):
            return failure_of("no-object-lock", FailureClass.REFUSAL, self._sink, code)
        fault = fault_of_exception(error, time.time())
        ours = fault.code if fault.code in KNOWN else "unexpected-error"
        return failure_of(ours, fault.failure_class, self._sink, fault.detail or fault.code)


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
