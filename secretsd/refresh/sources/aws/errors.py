"""What an error of AWS or of the way to it means to us. The service's own words never get past here."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore import exceptions as sdk
from urllib3.util.ssl_match_hostname import CertificateError

from secretsd.errors import FailureClass
from secretsd.refresh.sources.faults import (
    BAD_ENDPOINT,
    DELETED,
    DENIED,
    EMPTY,
    INCOMPLETE,
    METADATA_UNREACHABLE,
    MISSING,
    NO_ANSWER,
    NO_CONNECTION,
    NO_CREDENTIALS,
    SERVER_ERROR,
    THROTTLED,
    TLS_FAILED,
    UNEXPECTED,
    UNKNOWN_CREDENTIALS,
    Fault,
    Scope,
)
from secretsd.timespan import spoken

_TRANSIENT, _IDENTITY = FailureClass.TRANSIENT, FailureClass.IDENTITY
_REFUSAL, _DATA = FailureClass.REFUSAL, FailureClass.DATA

CLOCK_SKEW = Fault("clock-skew", _TRANSIENT, Scope.SOURCE)
EXPIRED = Fault("expired-credentials", _IDENTITY, Scope.SOURCE)
NO_REGION = Fault("no-region", _IDENTITY, Scope.SOURCE)
UNDECRYPTABLE = Fault("decryption-failed", _REFUSAL, Scope.SECRET)
# Data, not refusals: nothing was revoked, so nothing published may be withdrawn for them.
BAD_ID = Fault("bad-secret-id", _DATA, Scope.SECRET)
NO_SUCH_OPERATION = replace(UNEXPECTED, detail="UnknownOperationException")

# Codes that are about the endpoint or the way to it.
ENDPOINT_FAILS = frozenset(
    fault.code for fault in (THROTTLED, SERVER_ERROR, INCOMPLETE, NO_ANSWER, NO_CONNECTION, TLS_FAILED)
)
# Codes for which a replica in another region is asked: 5xx, timeouts, no network, and what is no answer, as
# which a connection that is reset inside TLS shows, too. Never a refusal, nor what the other region would
# say, too.
FAILS_OVER = frozenset(fault.code for fault in (SERVER_ERROR, INCOMPLETE, NO_ANSWER, NO_CONNECTION))

_BY_AWS_CODE: Mapping[str, Fault] = {
    **dict.fromkeys(
        (
            "ThrottlingException",
            "Throttling",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "ProvisionedThroughputExceededException",
            "BandwidthLimitExceeded",
            "SlowDown",
            "PriorRequestNotComplete",
        ),
        THROTTLED,
    ),
    **dict.fromkeys(
        (
            "InternalServiceError",
            "InternalServiceErrorException",
            "InternalServiceException",
            "InternalServerError",
            "InternalFailure",
            "InternalError",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "RequestTimeout",
            "RequestTimeoutException",
        ),
        SERVER_ERROR,
    ),
    **dict.fromkeys(("RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"), CLOCK_SKEW),
    **dict.fromkeys(("ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired"), EXPIRED),
    **dict.fromkeys(
        (
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidAccessKeyId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "AuthFailure",
        ),
        UNKNOWN_CREDENTIALS,
    ),
    **dict.fromkeys(
        ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized"), DENIED
    ),
    **dict.fromkeys(
        (
            "DecryptionFailure",
            "InvalidKeyId",
            "KMSAccessDeniedException",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
        ),
        UNDECRYPTABLE,
    ),
    "ResourceNotFoundException": MISSING,
    "InvalidRequestException": UNEXPECTED,  # unless it tells of a deletion
    **dict.fromkeys(
        ("InvalidParameterException", "InvalidParameterValue", "ValidationException", "ValidationError"),
        BAD_ID,
    ),
    "UnknownOperationException": NO_SUCH_OPERATION,
}

_SIGNATURE_CODES = ("InvalidSignatureException", "SignatureDoesNotMatch")
_SANE_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,63}")
_NO_VALUE = re.compile(r"secret value for|staging label|VersionId", re.IGNORECASE)
_DELETION = re.compile(r"delet", re.IGNORECASE)
# "Access to KMS is not allowed", "... (Service: AWSKMS; ..."; not merely "kms", which may stand in a name.
_KEY_DENIED = re.compile(r"Access to KMS|kms:Decrypt|\(Service: (?:AWSKMS|Kms)\b")
# As SigV4 answers: "Signature expired: 20261122T120000Z is now earlier than 20261122T121000Z
# (20261122T121500Z - 5 min.)", "Signature not yet current: ... is still later than ... (... + 5 min.)".
_SKEW = re.compile(r"(\d{8}T\d{6}Z) is (?:now earlier|still later) than \d{8}T\d{6}Z \((\d{8}T\d{6}Z) [-+] ")
_SKEW_WORDS = re.compile(r"Signature expired|Signature not yet current")
_SKEW_LIMIT_S = 300.0


def fault_of_code(code: object, message: object, *, status: int = 400) -> Fault:
    """The fault behind an error code of AWS; `message` is only looked at, never kept.

    A code that AWS did not send, such as the bare status of a proxy's page, is no answer: whatever the
    status, it is never a refusal.
    """
    text = message if isinstance(message, str) else ""
    if not isinstance(code, str) or not _SANE_CODE.fullmatch(code):
        return replace(SERVER_ERROR if status >= 500 else INCOMPLETE, detail=f"HTTP {status}")
    fault = _BY_AWS_CODE.get(code, UNEXPECTED)
    if status >= 500 and fault is not THROTTLED:
        return replace(SERVER_ERROR, detail=f"HTTP {status} {code}")
    if fault is MISSING and _NO_VALUE.search(text):
        return EMPTY
    if fault is DENIED and _KEY_DENIED.search(text):
        return UNDECRYPTABLE
    if code == "InvalidRequestException" and _DELETION.search(text):
        return DELETED
    return fault if fault.detail else replace(fault, detail=code)


def fault_of_answer(response: Mapping[str, object], now: float) -> Fault:
    """The fault behind an error answer as botocore parsed it; `now` in seconds since the epoch."""
    error, metadata = _mapping(response.get("Error")), _mapping(response.get("ResponseMetadata"))
    status = metadata.get("HTTPStatusCode")
    code, message = error.get("Code"), error.get("Message")
    fault = fault_of_code(code, message, status=status if isinstance(status, int) else 400)
    signature_is_old = code in _SIGNATURE_CODES and isinstance(message, str) and _SKEW_WORDS.search(message)
    skew_s = _skew_s(message, _mapping(metadata.get("HTTPHeaders")).get("date"), now)
    if fault.code == "clock-skew" or signature_is_old:
        return replace(CLOCK_SKEW, detail=_spoken_skew(skew_s))
    if code in _SIGNATURE_CODES and skew_s is not None and abs(skew_s) > _SKEW_LIMIT_S:
        return replace(CLOCK_SKEW, detail=_spoken_skew(skew_s))
    return fault


def fault_of_exception(error: Exception, now: float) -> Fault:
    """The fault behind anything that a call of the SDK raised; `now` in seconds since the epoch."""
    if isinstance(error, sdk.ClientError):
        return fault_of_answer(error.response, now)
    if isinstance(error, MemoryError) or isinstance(_cause(error), MemoryError):
        # Not repeated: the second time would meet the same memory limit.
        return replace(INCOMPLETE, retry=False, detail="it did not fit into memory")
    if isinstance(error, sdk.SSLError):
        return replace(TLS_FAILED, detail=_why_untrusted(error))
    for kinds, fault in _BY_EXCEPTION:
        if isinstance(error, kinds):
            return fault
    if isinstance(error, sdk.CredentialRetrievalError):
        from_metadata = error.kwargs.get("provider") in ("iam-role", "container-role")
        return METADATA_UNREACHABLE if from_metadata else NO_CREDENTIALS
    if isinstance(error, sdk.BotoCoreError):
        return replace(UNEXPECTED, scope=Scope.CALL, detail=type(error).__name__)
    # Nothing of botocore's own: its parser has tripped over what came.
    return INCOMPLETE


# The first match wins: to botocore an InvalidRegionError is a ValidationError.
_BY_EXCEPTION: tuple[tuple[tuple[type[Exception], ...], Fault], ...] = (
    ((sdk.NoRegionError, sdk.InvalidRegionError), NO_REGION),
    ((sdk.ParamValidationError, sdk.ValidationError), BAD_ID),
    ((sdk.ReadTimeoutError,), replace(NO_ANSWER, detail="it did not answer in time")),
    ((sdk.ConnectionClosedError, sdk.ResponseStreamingError), replace(NO_ANSWER, detail="it hung up")),
    ((sdk.ProxyConnectionError,), replace(NO_CONNECTION, detail="the proxy does not answer")),
    ((sdk.ConnectTimeoutError,), replace(NO_CONNECTION, detail="no connection in time")),
    (
        (sdk.EndpointConnectionError,),
        replace(NO_CONNECTION, detail="no connection: refused, or no such name"),
    ),
    ((sdk.ConnectionError,), NO_CONNECTION),
    ((sdk.HTTPClientError, sdk.IncompleteReadError), NO_ANSWER),
    ((sdk.MetadataRetrievalError, sdk.InvalidIMDSEndpointError), METADATA_UNREACHABLE),
    ((sdk.BaseEndpointResolverError, sdk.EndpointProviderError), BAD_ENDPOINT),
    (
        (
            sdk.NoCredentialsError,
            sdk.PartialCredentialsError,
            sdk.UnknownCredentialError,
            sdk.ProfileNotFound,
            sdk.ConfigParseError,
            sdk.ConfigNotFound,
            sdk.InvalidConfigError,
        ),
        NO_CREDENTIALS,
    ),
)


def _cause(error: Exception) -> object:
    return error.kwargs.get("error") if isinstance(error, sdk.BotoCoreError) else None


def _why_untrusted(error: Exception) -> str:
    """OpenSSL's own words for a certificate that it does not take; they name what was configured only."""
    each = _cause(error)
    for _ in range(5):
        if isinstance(each, ssl.SSLCertVerificationError) and isinstance(each.verify_message, str):
            return each.verify_message.rstrip(".")
        if isinstance(each, CertificateError):  # urllib3's, in words of the certificate
            return "the certificate is another host's"
        inner = each.args if isinstance(each, BaseException) else ()
        each = next((one for one in inner if isinstance(one, BaseException)), None)
    return ""


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _skew_s(message: object, date_header: object, now: float) -> float | None:
    """By how many seconds our clock is ahead of the service's; negative: behind; None: it did not say."""
    found = _SKEW.search(message) if isinstance(message, str) else None
    try:
        if found is not None:
            return _epoch(found[1]) - _epoch(found[2])
        if isinstance(date_header, str):
            return now - parsedate_to_datetime(date_header).timestamp()
    except (ValueError, OverflowError):
        pass
    return None


def skew_of_answer(response: Mapping[str, object] | None, now: float) -> float | None:
    """By how many seconds our clock is ahead of the answer's Date header; None where there is none."""
    headers = _mapping(_mapping(response).get("headers"))
    date = next((value for name, value in headers.items() if name.lower() == "date"), None)
    return _skew_s(None, date, now)


def _epoch(basic_iso: str) -> float:
    return datetime.strptime(basic_iso, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _spoken_skew(skew_s: float | None) -> str:
    if skew_s is None:
        return ""
    return f"{spoken(skew_s)} {'ahead of' if skew_s > 0 else 'behind'}"
