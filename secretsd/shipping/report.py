"""What the shipper says of itself: a document for metrics, health, `secretsctl doctor` and the daemons, a
line for systemd."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secretsd.audit.shipped import STATUS_NAME
from secretsd.shipping.courier import Courier, Route
from secretsd.shipping.fleet import Spool

SCHEMA = 1

Document = dict[str, Any]


def document(couriers: Sequence[Courier], spools: Sequence[Spool], now_s: float, wall_s: float) -> Document:
    """docs/json.md has the schema. `now_s` is CLOCK_MONOTONIC, `wall_s` is in seconds since the epoch."""
    return {
        "schema": SCHEMA,
        "time": int(wall_s),
        "pid": os.getpid(),
        "sinks": [_sink(courier, now_s, wall_s) for courier in couriers],
        "trails": [asdict(spool) for spool in spools],
    }


def write(document: Document, state_dir: Path) -> None:
    """Raises: OSError."""
    draft = state_dir / f"{STATUS_NAME}.new"
    draft.write_text(json.dumps(document) + "\n")
    draft.chmod(0o644)
    draft.rename(state_dir / STATUS_NAME)


def line(document: Document) -> str:
    """The same in a sentence."""
    return "; ".join(_spoken(each) for each in document["sinks"])


def _spoken(sink: Document) -> str:
    name, failure = sink["name"], sink["failure"]
    waiting = sum(chain["waiting_bytes"] for chain in sink["chains"])
    behind = f", {waiting} bytes wait" if waiting else ""
    return f"{name}: {failure['message'] if failure else 'all well'}{behind}"


def _sink(courier: Courier, now_s: float, wall_s: float) -> Document:
    failure, since_s, took_at_s = courier.failure, courier.failing_since_s, courier.took_at_s
    return {
        "name": courier.sink.name,
        "batch_age_s": courier.sink.batch_age_s,
        "last_success": None if took_at_s is None else int(took_at_s),
        "failure": None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "advice": failure.advice,
            "seconds": 0 if since_s is None else int(now_s - since_s),
        },
        "chains": [_chain(route, now_s, wall_s) for route in courier.routes],
    }


def _chain(route: Route, now_s: float, wall_s: float) -> Document:
    position, waiting, since_s = route.cursor.position, route.waiting, route.unanchored_since_s
    return {
        "daemon": route.follower.daemon,
        "record": position.head.seq if position else 0,
        "hash": position.head.hash.decode() if position else "",
        "file": position.file if position else "",
        "offset": position.offset if position else 0,
        "since": route.cursor.since,
        "waiting_bytes": waiting.bytes,
        "waiting_records": waiting.records,
        "waiting_s": 0 if waiting.since_s is None else max(0, int(wall_s - waiting.since_s)),
        "last_anchor": None if route.anchored_at_s is None else int(route.anchored_at_s),
        "unanchored_s": 0 if since_s is None else int(now_s - since_s),
        **asdict(route.counts),
    }
