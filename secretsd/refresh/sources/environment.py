"""The source `env`: variables of the daemon's own environment, which its workers inherit."""

from __future__ import annotations

import os

from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.local import LocalSource, UnreadableError

# An environment does not change while its process lives, and a digest of its values could be guessed.
_VERSION = "environment"


class EnvironmentSource(LocalSource):
    """Secrets by the names of variables."""

    def read(self, ref: SecretRef) -> FetchedSecret:
        value = os.environb.get(os.fsencode(ref.id))
        if value is None:
            raise UnreadableError(
                "secret-missing",
                FailureClass.REFUSAL,
                f"secretsd's environment has no variable {ref}",
                f"set {ref} for the daemon and restart it, or correct the id",
            )
        return FetchedSecret(ref, _VERSION, None, value)
