"""Reads the PIN from where the configuration says it is."""

from __future__ import annotations

import os
import stat

from secretsd.signing.errors import SigningError

_LONGEST_BYTES = 1024


def read_pin(place: str) -> str:
    """The PIN; `place` is "credential:NAME" or "file:PATH". A line end at its end does not belong to it.

    Raises: SigningError pin-missing.
    """
    kind, _, rest = place.partition(":")
    if kind == "credential":
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise _missing(
                "there are no credentials: systemd passes none to this process",
                f'LoadCredential={rest}:PATH in the unit, or pin = "file:PATH"',
            )
        path = os.path.join(directory, rest)
    else:
        path = rest
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        advice = f"create it, readable for this service only: {path}"
        raise _missing(f"the PIN cannot be read: {os.strerror(error.errno or 0)}", advice) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise _missing("the PIN's place is no file", f"write the PIN into a file: {path}")
        if kind == "file" and mode & 0o077:
            raise _missing("the PIN's file may be read by others than its owner", f"chmod 600 {path}")
        content = os.read(descriptor, _LONGEST_BYTES + 1)
    except OSError as error:
        raise _missing(f"the PIN cannot be read: {os.strerror(error.errno or 0)}", path) from None
    finally:
        os.close(descriptor)
    try:
        pin = content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        pin = ""
    if not pin or len(content) > _LONGEST_BYTES:
        raise _missing("the PIN's file is empty, too long or not text", f"write the PIN into {path}")
    return pin


def _missing(what: str, advice: str) -> SigningError:
    return SigningError("pin-missing", what, advice=advice + "; then: secretsctl unlock")
