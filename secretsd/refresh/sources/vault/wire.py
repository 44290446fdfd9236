"""One request to a server, as hvac words it, and its answer, read to its end or not used."""

from __future__ import annotations

import ssl
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import requests
from hvac.adapters import Adapter
from requests import exceptions as http
from urllib3 import exceptions as pool

from secretsd.refresh.sources.faults import (
    BAD_ENDPOINT,
    INCOMPLETE,
    NO_ANSWER,
    NO_CONNECTION,
    TLS_FAILED,
    CallFailedError,
    Fault,
)
from secretsd.refresh.sources.vault.answers import document_of
from secretsd.refresh.sources.vault.errors import Answer

if TYPE_CHECKING:
    from secretsd.refresh.sources.clocks import Clocks

# An answer holds one secret of at most 64 KiB, each byte of which JSON may write as six.
MAX_ANSWER_BYTES = 1024 * 1024
_PIECE_BYTES = 64 * 1024


class Wire(Adapter):  # type: ignore[misc]  # hvac has no types
    """What hvac sends its requests through. Raises nothing but CallFailedError, and that for no status.

    `connect_s` and `read_s` are this wire's timeouts in seconds, from one received byte to the next;
    `ends_at` is the monotonic time after which an answer that still drips in is given up.
    """

    def __init__(self, url: str, session: requests.Session, namespace: str | None, clocks: Clocks) -> None:
        super().__init__(base_uri=url, session=session, namespace=namespace)
        self._clocks = clocks
        self.connect_s = 2.0
        self.read_s = 4.0
        self.ends_at = 0.0
        self.skew_s: float | None = None  # by how much this host's clock is ahead of the last answer's

    def get_login_token(self, response: object) -> str:  # noqa: ARG002
        raise AssertionError("a token is read from the whole answer")

    def request(self, method: str, url: str, **options: Any) -> Answer:
        """Blocks until the answer is whole. Raises: CallFailedError."""
        options.pop("wrap_ttl", None)  # hvac's word for what we never ask for
        try:
            with self.session.request(
                method,
                self.urljoin(self.base_uri, url),
                headers=self._headers(),
                allow_redirects=False,
                stream=True,
                verify=self.session.verify,  # or REQUESTS_CA_BUNDLE would take its place
                timeout=(self.connect_s, self.read_s),
                **options,
            ) as response:
                self._see_clock(response)
                body = self._body(response)
            return Answer(response.status_code, body, document_of(body))
        except CallFailedError:
            raise
        except Exception as error:  # noqa: BLE001 - the libraries' parsers raise anything on what lies
            fault = fault_of_exception(error)
        # Raised outside the handler: an error of the libraries holds request, token or answer, and would
        # stay attached as the context of ours.
        raise CallFailedError(fault)

    def _headers(self) -> dict[str, str]:
        headers = {"X-Vault-Request": "true"}  # an agent may ask for it, against forged requests
        if self.token:
            headers["X-Vault-Token"] = self.token
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        return headers

    def _body(self, response: requests.Response) -> bytes:
        """The body. urllib3 itself raises where it is shorter than its Content-Length says."""
        pieces, size = [], 0
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                detail = f"it is larger than {MAX_ANSWER_BYTES} bytes"
                raise CallFailedError(replace(INCOMPLETE, retry=False, detail=detail))
            if self._clocks.monotonic() > self.ends_at:
                raise CallFailedError(replace(NO_ANSWER, retry=False, detail="it did not end in time"))
        return b"".join(pieces)

    def _see_clock(self, response: requests.Response) -> None:
        try:
            told = parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (KeyError, ValueError, OverflowError, TypeError):
            return
        self.skew_s = self._clocks.wall() - told


def fault_of_exception(error: Exception) -> Fault:
    """The fault behind anything that a request raised."""
    if isinstance(error, MemoryError):
        # Not repeated: the second time would meet the same memory limit.
        return replace(INCOMPLETE, retry=False, detail="it did not fit into memory")
    if isinstance(error, http.SSLError):
        return replace(TLS_FAILED, detail=_why_untrusted(error))
    for kinds, fault in _BY_EXCEPTION:
        if isinstance(error, kinds):
            return fault
    if isinstance(error, http.ConnectionError):
        return _no_connection(error)
    return INCOMPLETE


# The first match wins: to requests a ConnectTimeout and a ProxyError are ConnectionErrors.
_BY_EXCEPTION: tuple[tuple[tuple[type[Exception], ...], Fault], ...] = (
    ((http.ProxyError,), replace(NO_CONNECTION, detail="the proxy does not answer")),
    ((http.ConnectTimeout,), replace(NO_CONNECTION, detail="no connection in time")),
    (
        (http.ReadTimeout, pool.ReadTimeoutError, TimeoutError),
        replace(NO_ANSWER, detail="it did not answer in time"),
    ),
    ((http.InvalidURL, http.InvalidSchema, http.MissingSchema, http.InvalidProxyURL), BAD_ENDPOINT),
    # Of the body: before it, requests makes one of its own errors of them.
    ((pool.ProtocolError, ConnectionError), replace(INCOMPLETE, detail="it was cut short")),
)


def _no_connection(error: http.ConnectionError) -> Fault:
    reasons = list(_chain(error))
    if any(isinstance(each, pool.NameResolutionError) for each in reasons):
        return replace(NO_CONNECTION, detail="no such name")
    if any(isinstance(each, pool.NewConnectionError) for each in reasons):
        return replace(NO_CONNECTION, detail="no connection: refused, or nobody there")
    if any(isinstance(each, pool.ReadTimeoutError) for each in reasons):
        return replace(NO_ANSWER, detail="it did not answer in time")
    return replace(NO_ANSWER, detail="it hung up")


def _why_untrusted(error: http.SSLError) -> str:
    """OpenSSL's own words for a certificate that it does not take; they name what was configured only."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError) and isinstance(each.verify_message, str):
            return each.verify_message.rstrip(".")
    return ""


def _chain(error: BaseException) -> list[BaseException]:
    """What the error was made from, as far as five levels down; libraries put it into args, too."""
    found: list[BaseException] = []
    level: list[BaseException] = [error]
    for _ in range(5):
        found += level
        level = [
            inner
            for each in level
            for inner in (*each.args, each.__cause__, each.__context__, getattr(each, "reason", None))
            if isinstance(inner, BaseException) and inner not in found
        ]
    return found
