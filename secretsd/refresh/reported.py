"""Lines of the log about what a bundle's round came to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from secretsd.errors import Failure

log = logging.getLogger(__name__)


def not_refreshed(name: str, failures: Sequence[Failure]) -> None:
    """A bundle stays as it is."""
    for failure in failures:
        fields = {"bundle": name, "class": failure.failure_class.value, "code": failure.code}
        reasons = {"reason": failure.message, "advice": failure.advice}
        log.warning("bundle was not refreshed", extra={**fields, **reasons})


def ignored(name: str, keys_of: Mapping[str, Sequence[str]]) -> None:
    """What a bundle's secrets hold beyond what the bundle names."""
    for secret, keys in keys_of.items():
        fields = {"bundle": name, "secret": secret, "keys": ", ".join(keys)}
        log.info("keys that the bundle does not name are not published", extra=fields)
