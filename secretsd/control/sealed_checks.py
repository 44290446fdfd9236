"""What `secretsctl doctor` says of sealed copies: the key, and each bundle's newest copy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from secretsd.config.models import Bundle, Config
from secretsd.control.check import Check, fail, failed, ok, warn
from secretsd.credentials import UnreadableError, opened_credential
from secretsd.errors import ExitCode
from secretsd.refresh.sealed.choice import KEY_BYTES
from secretsd.refresh.sealed.refusals import SETUP
from secretsd.refresh.state import BundleState
from secretsd.timespan import spoken

# Said to who relies on it, whatever else is well.
_UNPROTECTED = "whoever restores an older state of this disk brings back an older copy, within its max_age"


def sealed_checks(config: Config, states: Mapping[str, BundleState], *, now: float) -> Iterator[Check]:
    """Nothing where no bundle has sealed copies. `now` is the wall clock's."""
    bundles = {name: bundle for name, bundle in config.bundles.items() if bundle.sealed_copy is not None}
    if not bundles or config.daemon.seal_key is None:
        return
    yield _key(config.daemon.seal_key, has_counter=config.daemon.seal_counter is not None)
    for name, bundle in bundles.items():
        if name in states:
            yield _copy(f"sealed {name}", bundle, states[name], now)


def _key(place: str, *, has_counter: bool) -> Check:
    """Whether the key is where it belongs. It is not read: this is the daemon, which never has it."""
    try:
        with opened_credential(place) as descriptor:
            size_bytes = os.fstat(descriptor).st_size
    except UnreadableError as error:
        fix = f"{SETUP}, as root, once; then: systemctl restart secretsd"
        return fail("seal key", f"{place} {error}", fix, ExitCode.CONFIG)
    if size_bytes != KEY_BYTES:
        what = f"{place} has {size_bytes} bytes, and a key has {KEY_BYTES}"
        return fail("seal key", what, f"{SETUP} --force makes a new one", ExitCode.CONFIG)
    return ok("seal key", f"{place} is there" + ("" if has_counter else f"; {_UNPROTECTED}"))


def _copy(check: str, bundle: Bundle, state: BundleState, now: float) -> Check:
    if state.sealed_problem is not None:
        return failed(check, state.sealed_problem)
    newest = state.sealed[max(state.sealed)] if state.sealed else None
    if newest is None or bundle.sealed_copy is None:
        return warn(check, "no copy yet: a boot in an outage publishes nothing", "secretsctl reload")
    left_s = newest.confirmed_at + bundle.sealed_copy.max_age_s - now
    if left_s <= 0:
        return warn(
            check,
            "its copy is older than max_age: a boot would refuse it",
            "secretsctl reload, once its source answers",
        )
    age = spoken(max(0.0, now - newest.confirmed_at))
    return ok(check, f"its copy was confirmed {age} ago, a boot takes it for {spoken(left_s)} more")
