"""All attack figures of the signer, in full: about three minutes.

python -m tests.bench.signing_attacks
"""

from __future__ import annotations

from tests.bench.figures import Figure, table
from tests.bench.signing_crowd import crowd
from tests.bench.signing_frames import frames
from tests.bench.signing_hang import hang
from tests.bench.signing_outsiders import outsiders
from tests.bench.signing_pid_races import pid_races


def measure() -> list[Figure]:
    """All of them; needs root."""
    return [*crowd(), *hang(), *outsiders(), *pid_races(), *frames()]


if __name__ == "__main__":
    print(table(measure()))
