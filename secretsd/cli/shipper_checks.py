"""What `secretsctl doctor` says of the shipper: whether it runs, and what each sink has."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secretsd.config.models import Config
from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ExitCode

Document = Mapping[str, Any]

_FILE_NAME = "status.json"
_OLD_S = 60.0  # it writes each 5 s
_START = "systemctl enable --now secretsd-shipper; journalctl -u secretsd-shipper -n 50"


def shipper(config: Config) -> Iterator[Check]:
    """Nothing where the configuration names no sink."""
    audit = config.audit
    wanted = {name for name in ("journal", "s3", "cloudwatch") if getattr(audit, name) is not None}
    if not wanted:
        return
    try:
        said = json.loads((Path(audit.shipper_state_dir) / _FILE_NAME).read_bytes())
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
        fix = "systemctl restart secretsd-shipper"
        what = f"it runs without {', '.join(sorted(lacking))}, which the configuration names"
        yield warn("shipper", what, fix)
    for sink in said["sinks"]:
        yield from _sink(sink)


def _sink(sink: Document) -> Iterator[Check]:
    name, failure = f"shipper {sink['name']}", sink["failure"]
    waiting = sum(chain["waiting_bytes"] for chain in sink["chains"])
    if failure is not None:
        what = f"{failure['message']}; {waiting} bytes wait, for {failure['seconds']} s now"
        yield fail(name, what, failure["advice"], ExitCode.UNAVAILABLE)
    else:
        has = ", ".join(f"{chain['daemon']} up to {chain['record']}" for chain in sink["chains"])
        yield ok(name, f"{has}; {waiting} bytes wait")
    for count, what, fix in _LOSSES:
        if lost := sum(chain[count] for chain in sink["chains"]):
            yield warn(name, f"{lost} {what} since its start", fix)


_LOG = "journalctl -u secretsd-shipper -p err"
_LOSSES = (
    ("missing", "records were removed before they were shipped", f"keep files longer; {_LOG}"),
    ("flaws", "pieces of the trail did not fit", f"somebody has altered it: {_LOG}"),
    ("refused", "records were refused for good", _LOG),
)
