"""The HTTP session of a server: its certificates, its proxies or its Unix socket. It logs nothing."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - a connection needs it; it takes a millisecond that no worker should pay
import logging
import ssl
from typing import TYPE_CHECKING

import hvac  # noqa: F401 - what the zygote warms
import requests

from secretsd.refresh.sources.faults import CallFailedError
from secretsd.refresh.sources.vault.errors import NO_CA_FILE
from secretsd.refresh.sources.vault.unix import HOST, UnixAdapter

if TYPE_CHECKING:
    from pathlib import Path

_UNIX = "unix://"
_LOGGERS = ("hvac", "requests", "urllib3")


def preload() -> None:
    """Makes a session for nothing, so that what it imports late is there before a fork. Contacts nothing."""
    silence_loggers()
    requests.Session().close()


def new_session(address: str, ca_file: Path | None) -> requests.Session:
    """A session for the server at `address`; contacts nothing yet.

    Proxies are those of the environment, and none for a Unix socket. Nothing is taken from ~/.netrc.

    Raises:
        CallFailedError: "bad-ca-file".
    """
    silence_loggers()
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # a secret is small, and a bomb would be compressed
    session.auth = _no_netrc
    if address.startswith(_UNIX):
        session.trust_env = False
        session.mount("http://", UnixAdapter(address.removeprefix(_UNIX)))
    session.verify = _authorities(ca_file)
    return session


def base_url(address: str) -> str:
    """What the paths of the API are appended to."""
    return f"http://{HOST}" if address.startswith(_UNIX) else address


def _authorities(ca_file: Path | None) -> str | bool:
    """Where the certificates of trusted authorities are: `ca_file`, or what OpenSSL uses on this host."""
    if ca_file is None:
        system = ssl.get_default_verify_paths()
        return system.cafile or system.capath or True
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except OSError:  # an SSLError is one
        is_usable = False
    else:
        is_usable = True
    if not is_usable:
        raise CallFailedError(NO_CA_FILE)
    return str(ca_file)


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def silence_loggers() -> None:
    """Cuts the libraries' loggers off: at DEBUG urllib3 names each path that is asked for."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        # The NullHandler keeps logging's handler of last resort, stderr, out of it.
        logger.handlers[:] = [logging.NullHandler()]
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
        logger.disabled = True
