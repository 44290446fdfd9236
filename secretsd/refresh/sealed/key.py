"""The key of this host's sealed copies, and what names the host."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from secretsd.credentials import UnreadableError, read_credential
from secretsd.errors import FailureError
from secretsd.refresh.sealed import refusals
from secretsd.refresh.sealed.box import SealKey
from secretsd.refresh.sealed.choice import KEY_BYTES

_MACHINE_ID = Path("/etc/machine-id")


def read_key(place: str) -> SealKey:
    """The key from "credential:NAME" or "file:PATH". Raises: FailureError sealed-key-missing."""
    try:
        host_key = read_credential(place, longest_bytes=KEY_BYTES)
    except UnreadableError as error:
        raise FailureError(refusals.key_missing(place, str(error))) from None
    if len(host_key) != KEY_BYTES:
        raise FailureError(refusals.key_missing(place, f"is shorter than {KEY_BYTES} bytes"))
    return SealKey.of(host_key)


def host_id() -> str:
    """This host, by its machine id, which is not to be shown as it is (machine-id(5)).

    Raises: FailureError sealed-no-host.
    """
    try:
        machine_id = _MACHINE_ID.read_bytes().strip()
    except OSError as error:
        raise FailureError(refusals.no_host(os.strerror(error.errno or 0))) from None
    if not machine_id:
        raise FailureError(refusals.no_host("it is empty"))
    return hashlib.sha256(b"secretsd sealed copy: host\0" + machine_id).hexdigest()[:32]
