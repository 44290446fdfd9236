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
        path, remedy = os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", ""), rest), how_to_change(place)
        if not os.path.isabs(path):
            remedy = f'LoadCredential={rest} in the unit, or pin = "file:PATH" where there is none'
    else:
        path, remedy = rest, how_to_change(place)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _missing(f"the PIN cannot be read: {os.strerror(error.errno or 0)}", remedy) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise _missing("the PIN's place is no file", remedy)
        if kind == "file" and mode & 0o077:
            raise _missing(
                "the PIN's file may be read by others than its owner",
                f"chmod 600 {path}; then: secretsctl unlock",
            )
        content = os.read(descriptor, _LONGEST_BYTES + 1)
    except OSError as error:
        raise _missing(f"the PIN cannot be read: {os.strerror(error.errno or 0)}", remedy) from None
    finally:
        os.close(descriptor)
    try:
        pin = content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        pin = ""
    if not pin or len(content) > _LONGEST_BYTES:
        raise _missing("the PIN's file is empty, too long or not text", remedy)
    return pin


def how_to_change(place: str, what: str = "it") -> str:
    """Where the PIN goes, and what to run then. `what` is the PIN, for the sentence."""
    _, _, rest = place.partition(":")
    if is_handed_out_once(place):
        # Not where it was read: that copy is nobody's to mend.
        return f"put {what} into /etc/credstore/{rest}, mode 600; then: systemctl restart secretsd-signer"
    return f"write {what} into {rest}, mode 600, the signer's user's; then: secretsctl unlock"


def is_handed_out_once(place: str) -> bool:
    """Whether reading `place` again in this process finds what it found before: systemd copies a credential
    when it starts the service, and never again."""
    return place.startswith("credential:")


def _missing(what: str, advice: str) -> SigningError:
    return SigningError("pin-missing", what, advice=advice)
