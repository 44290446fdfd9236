"""When the credentials that the conductor keeps have to be asked for anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.model import VaultToken

if TYPE_CHECKING:
    from secretsd.model import Identity

# AWS itself hands out the next credentials at least five minutes before the old ones end; fifteen leave
# room for a metadata service that is out for a while.
REFRESH_MARGIN_S = 900.0


def needs_refresh(identity: Identity | None, now: float) -> bool:
    """Whether the next worker should ask for a new identity, or for a longer life of this one.

    True for none at all; for a role when less than a third of the lifetime or less than 15 minutes remain;
    for a token of Vault, whose life may be minutes, in its second half. `now` is in seconds since the epoch.
    An identity that needs a refresh is still good until it expires: keep it when nobody answers.
    """
    if identity is None:
        return True
    remaining_s = identity.expires_at - now
    if identity.obtained_at is None:
        return remaining_s < REFRESH_MARGIN_S
    lifetime_s = identity.expires_at - identity.obtained_at
    if isinstance(identity, VaultToken):
        return remaining_s < lifetime_s / 2
    return remaining_s < max(REFRESH_MARGIN_S, lifetime_s / 3)
