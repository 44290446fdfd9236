"""All figures of docs/benchmarks.md: python -m tests.bench [NAME...]"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    audit,
    audit_faults,
    audit_kills,
    audit_outage,
    audit_restore,
    audit_shipper,
    audit_tampering,
    formats,
    growth,
    herd,
    memory_scan,
    notify_cold_start,
    openbao_agent,
    outage,
    outage_table,
    publish_faults,
    push,
    refresh,
    scale,
    signing,
    signing_attacks,
    signing_audit,
    status,
    wait,
)
from tests.bench.figures import Figure, table

_MODULES: dict[str, Callable[[], list[Figure]]] = {
    "audit": audit.measure,
    "audit_kills": audit_kills.measure,
    "audit_faults": audit_faults.measure,
    "audit_tampering": audit_tampering.measure,
    "audit_restore": audit_restore.measure,
    "audit_shipper": audit_shipper.measure,
    "audit_outage": audit_outage.measure,
    "wait": wait.measure,
    "status": status.measure,
    "refresh": refresh.measure,
    "scale": scale.measure,
    "notify_cold_start": notify_cold_start.measure,
    "openbao_agent": openbao_agent.measure,
    "growth": growth.measure,
    "outage": outage.measure,
    "outage_table": outage_table.measure,
    "herd": herd.measure,
    "formats": formats.measure,
    "memory_scan": memory_scan.measure,
    "publish_faults": publish_faults.measure,
    "push": push.measure,
    "signing": signing.measure,
    "signing_attacks": signing_attacks.measure,
    "signing_audit": signing_audit.measure,
}


def main() -> int:
    """1 where something was found that must not be; a slow figure is told as missed and fails nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="The figures of secretsd.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_MODULES)}; default: all")
    names = parser.parse_args().names or list(_MODULES)
    if unknown := sorted(set(names) - _MODULES.keys()):
        parser.error(f"unknown: {', '.join(unknown)}")
    print(f"on {_machine()}")
    figures = []
    for name in names:
        print(f"\n    python -m tests.bench.{name}\n", flush=True)
        found = _MODULES[name]()
        print(table(found) if found else "not measured: what it needs is not installed, see its first lines")
        figures += found
    goals = [figure for figure in figures if figure.goal is not None]
    missed = [figure for figure in goals if figure.verdict == "missed"]
    print(f"\n{len(goals) - len(missed)} of {len(goals)} goals met")
    return 1 if any(figure.exactly for figure in missed) else 0


def _machine() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = os.getloadavg()[0]
    processor = models[0] if models else platform.machine()
    return f"{len(models) or os.cpu_count()} x {processor}, Linux {platform.release()}, load {load:.1f}"


if __name__ == "__main__":
    sys.exit(main())
