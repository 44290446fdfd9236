"""Reads the PIN from where the configuration says it is."""

from __future__ import annotations

from secretsd.credentials import UnreadableError, read_credential
from secretsd.signing.errors import SigningError

_LONGEST_BYTES = 1024


def read_pin(place: str) -> str:
    """The PIN; `place` is "credential:NAME" or "file:PATH". A line end at its end does not belong to it.

    Raises: SigningError pin-missing.
    """
    _, _, rest = place.partition(":")
    remedy = how_to_change(place)
    try:
        content = read_credential(place, longest_bytes=_LONGEST_BYTES)
        pin = content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnreadableError as error:
        if error.code == "no-service":
            remedy = f'LoadCredential={rest} in the unit, or pin = "file:PATH" where there is none'
        elif error.code == "open-mode":
            remedy = f"chmod 600 {rest}; then: secretsctl unlock"
        raise _missing(f"the PIN's place {error}", remedy) from None
    except UnicodeDecodeError:
        pin = ""
    if not pin:
        raise _missing("the PIN's file is empty or not text", remedy)
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
