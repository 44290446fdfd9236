"""What `secretsctl doctor` says of the shipper: whether it runs, and what each sink has."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

from secretsd.audit.shipped import STATUS_NAME
from secretsd.config.models import Config
from secretsd.control.check import Check, fail, warn
from secretsd.errors import ExitCode
from secretsd.monitor import shipper_health
from secretsd.monitor.shipper_health import Document

_OLD_S = 20.0  # it writes each 5 s
_START = "systemctl enable --now secretsd-shipper; journalctl -t secretsd-shipper -n 50"


def shipper(config: Config) -> Iterator[Check]:
    """Nothing where the configuration names no sink."""
    audit = config.audit
    wanted = set(audit.sinks)
    if not wanted:
        return
    try:
        said = json.loads((audit.shipper_state_dir / STATUS_NAME).read_bytes())
        yield from judge(said, wanted, time.time())
    except FileNotFoundError:
        yield fail("shipper", "the audit trail is shipped nowhere: it has not run yet", _START, ExitCode.IO)
    except (OSError, ValueError, KeyError, TypeError):
        yield fail("shipper", f"{audit.shipper_state_dir} cannot be read", _START, ExitCode.IO)


def judge(said: Document, wanted: set[str], now_s: float) -> Iterator[Check]:
    """By its own report; `now_s` is in seconds since the epoch. Pure. Raises: KeyError, TypeError."""
    if now_s - said["time"] > _OLD_S:
        yield fail("shipper", "it does not run: the audit trail waits on this host", _START, ExitCode.IO)
        return
    if lacking := wanted - {sink["name"] for sink in said["sinks"]}:
        fix = "systemctl reload secretsd-shipper"
        what = f"it runs without {', '.join(sorted(lacking))}, which the configuration names"
        yield warn("shipper", what, fix)
    for each in shipper_health.of_sinks(said):
        yield replace(each, check=f"shipper {each.check}")
