"""How the shipper is, by its own report. Pure.

No check of it fails: that the trail waits on this host keeps no bot from its files or keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ExitCode

Document = Mapping[str, Any]

PATIENCE_S = 30  # for a sink: a single request that fails says nothing yet
_LATE_S = 120  # for a record, beyond the time in which it may wait for others
# By the identifier: with the journal as a sink every audit record is an entry of the unit, too.
_LOG = "journalctl -t secretsd-shipper -p err; systemctl restart secretsd-shipper counts anew"
_LOSSES = (
    ("missing", "records were removed before they were shipped", f"keep files longer; {_LOG}"),
    ("flaws", "pieces of the trail did not fit", f"somebody has altered it: {_LOG}"),
    ("refused", "records were refused for good", _LOG),
)


def checks(document: Document, refused_configuration: str) -> list[Check]:
    """For /readyz; `refused_configuration` is the first mistake of what a reload did not take."""
    found = [replace(each, check=f"sink {each.check}") for each in of_sinks(document, PATIENCE_S)]
    if refused_configuration:
        what = f"the last reload changed nothing: {refused_configuration}"
        fix = "secretsctl check-config, then systemctl reload secretsd-shipper"
        found.append(warn("configuration", what, fix))
    return [replace(each, state="warn", code=ExitCode.OK) if each.state == "fail" else each for each in found]


def of_sinks(document: Document, patience_s: int = 0) -> Iterator[Check]:
    """A check for each sink, by its name: it fails where nothing is taken; and a warning for each loss."""
    for sink in document["sinks"]:
        yield _way(sink, patience_s)
        for count, what, fix in _LOSSES:
            if lost := sum(chain[count] for chain in sink["chains"]):
                yield warn(sink["name"], f"{lost} {what} since its start", fix)


def _way(sink: Document, patience_s: int) -> Check:
    name, failure, chains = sink["name"], sink["failure"], sink["chains"]
    waiting = sum(chain["waiting_bytes"] for chain in chains)
    if failure is not None and failure["seconds"] >= patience_s:
        what = f"{failure['message']}; {waiting} bytes wait, for {failure['seconds']} s now"
        return fail(name, what, failure["advice"], ExitCode.UNAVAILABLE)
    late_s = max((chain["waiting_s"] for chain in chains), default=0)
    if late_s > sink["batch_age_s"] + _LATE_S:
        what = f"{waiting} bytes wait, the oldest record for {late_s} s"
        fix = "after a start or an outage it catches up; if it stays: journalctl -t secretsd-shipper -n 50"
        return warn(name, what, fix)
    has = ", ".join(f"{chain['daemon']} up to {chain['record']}" for chain in chains)
    return ok(name, f"{has}; {waiting} bytes wait")
