"""How the signer is: its token, each configured key, its audit log.

A check fails where somebody who may use a key cannot use it now.
"""

from __future__ import annotations

import time

from secretsd.audit.pruning import Pruner
from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ExitCode
from secretsd.monitor.common import log_check, trail_check
from secretsd.signing.desk import Desk
from secretsd.signing.errors import SigningError

_LOOK = "journalctl -u secretsd-signer -n 50"


def checks(desk: Desk, pruner: Pruner) -> list[Check]:
    """All of them; one that is well is there too."""
    found = [_token(desk), _audit(desk), *trail_check(pruner), *log_check(time.monotonic())]
    if desk.trouble is None:  # else all of them say the same
        found += [_key(desk, name) for name in sorted(desk.config.keys)]
    return found


def _token(desk: Desk) -> Check:
    if desk.trouble is not None:
        return _failed("token", desk.trouble)
    if not desk.token.breaker.is_closed:
        return fail("token", "fails again and again", _LOOK, ExitCode.UNAVAILABLE)
    return ok("token", "can be used")


def _key(desk: Desk, name: str) -> Check:
    check, problem = f"key {name}", desk.token.problems.get(name)
    if problem is not None:
        return _failed(check, problem)
    if name not in desk.token.keys:
        return fail(check, "was not looked up yet", "wait a second", ExitCode.TRY_AGAIN)
    lacking = desk.token.capabilities.lacking.get(name) if desk.token.capabilities else None
    if lacking:
        fix = "take the mechanism out of the key's mechanisms, or use another token"
        return warn(check, f"the token lacks {', '.join(map(str, lacking))}", fix)
    return ok(check, "can be used")


def _audit(desk: Desk) -> Check:
    trouble = desk.trail.trouble
    if trouble is None:
        return ok("audit log", "is written")
    if any(key.audit == "strict" for key in desk.config.keys.values()):
        return _failed("audit log", trouble)
    return warn("audit log", str(trouble), trouble.advice)


def _failed(check: str, error: SigningError) -> Check:
    return fail(check, str(error), error.advice, error.exit_code)
