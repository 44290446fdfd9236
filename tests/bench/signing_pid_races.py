"""Processes that connect and end, and whose numbers then belong to a service that has a right.

python -m tests.bench.signing_pid_races [RACES]

Each race is won: the number is the service's before anything is asked. Half of the connections wait in the
listener's queue meanwhile, since the signer is stopped, the others are known to it already.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, table
from tests.bench.signing_bed import Bed
from tests.bench.signing_keys import HMAC
from tests.signing import control_groups

RACES = 2000
_PLANTED_RACES = 8
# A signer that takes who has the number now for who connected.
_NAIVE = """
import os
from secretsd.signing import peer
from secretsd.signing.__main__ import main
peer._descriptor = lambda connection, pid: (os.pidfd_open(pid), True)
main()
"""
_UNIT = "secretsd-bench-bot.service"
_ROOT = Path(__file__).resolve().parents[2]


def pid_races(races: int = RACES) -> list[Figure]:
    """Signatures for who has only the number. None of the figures without root and control groups."""
    with control_groups.making() as make, tempfile.TemporaryDirectory(prefix="secretsd-pids-") as name:
        if make is None or shutil.which("unshare") is None:
            return []
        bed = Bed(Path(name), [HMAC])
        config = bed.configure("pids", {"dispatch": "inline"}, {"allow": [{"unit": _UNIT}]})
        group = make(f"/system.slice/{_UNIT}")
        if not _raced(bed, config, group, _PLANTED_RACES, ("-c", _NAIVE))["signatures"]:
            raise SystemExit("a signer that goes by the number alone was not deceived: these are no races")
        told = _raced(bed, config, group, races)
    if told["races"] < races // 2:
        raise SystemExit(f"only {told['races']} of {races} numbers were used again")
    refusals = ", ".join(f"{how} {count}" for how, count in sorted(told["refused"].items()))
    note = f"{told['races']} races, both sockets, before and after the accept; {refusals}"
    return [Figure("signatures by a number used again", told["signatures"], "", 0, exactly=True, note=note)]


def _raced(bed: Bed, config: Path, group: Path, races: int, launcher: Sequence[str] = ()) -> dict[str, Any]:
    """What signing_pid_racer saw in a PID namespace of its own."""
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    words = [os.fspath(config), os.fspath(group), str(races), *launcher]
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "tests.bench.signing_pid_racer", *words],
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        env=bed.environment,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    print(table(pid_races(int(sys.argv[1]) if len(sys.argv) > 1 else RACES)))
