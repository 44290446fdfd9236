"""What the shipper says of itself: a document for `secretsctl doctor` and others, a line for systemd."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from secretsd.shipping.courier import Courier, Route

SCHEMA = 1
FILE_NAME = "status.json"


def document(couriers: Sequence[Courier], now_s: float, wall_s: float) -> dict[str, object]:
    """docs/json.md has the schema. `now_s` is CLOCK_MONOTONIC, `wall_s` is in seconds since the epoch."""
    sinks = [_sink(courier, now_s) for courier in couriers]
    return {"schema": SCHEMA, "time": int(wall_s), "pid": os.getpid(), "sinks": sinks}


def write(document: dict[str, object], state_dir: Path) -> None:
    """Raises: OSError."""
    draft = state_dir / f"{FILE_NAME}.new"
    draft.write_text(json.dumps(document) + "\n")
    draft.chmod(0o644)
    draft.rename(state_dir / FILE_NAME)


def line(document: dict[str, object]) -> str:
    """The same in a sentence."""
    return "; ".join(_spoken(each) for each in document["sinks"])  # type: ignore[attr-defined]


def _spoken(sink: dict[str, object]) -> str:
    name, failure = sink["name"], sink["failure"]
    waiting = sum(chain["waiting_bytes"] for chain in sink["chains"])  # type: ignore[attr-defined]
    behind = f", {waiting} bytes wait" if waiting else ""
    if failure is not None:
        return f"{name}: {failure['message']}{behind}"  # type: ignore[index]
    return f"{name}: all well{behind}"


def _sink(courier: Courier, now_s: float) -> dict[str, object]:
    failure, since_s = courier.failure, courier.failing_since_s
    return {
        "name": courier.sink.name,
        "failure": None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "advice": failure.advice,
            "seconds": 0 if since_s is None else int(now_s - since_s),
        },
        "chains": [_chain(route) for route in courier.routes],
    }


def _chain(route: Route) -> dict[str, object]:
    position = route.cursor.position
    return {
        "daemon": route.follower.daemon,
        "record": position.head.seq if position else 0,
        "hash": position.head.hash.decode() if position else "",
        "file": position.file if position else "",
        "offset": position.offset if position else 0,
        "since": route.cursor.since,
        "waiting_bytes": route.waiting_bytes,
        **asdict(route.counts),
    }
