"""The attacks of tests/bench on the real signer: samples, or with SECRETSD_SOAK=1 (make soak) all of it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.bench.figures import Figure, table
from tests.bench.signing_crowd import CONNECTIONS, crowd
from tests.bench.signing_frames import FRAMES, frames
from tests.bench.signing_hang import HANG_S, hang
from tests.bench.signing_outsiders import ATTEMPTS, outsiders
from tests.bench.signing_pid_races import RACES, pid_races

SOAK = os.environ.get("SECRETSD_SOAK") == "1"
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="acts as other users: needs root"),
    pytest.mark.skipif(
        not (shutil.which("cc") and shutil.which("softhsm2-util")), reason="needs a C compiler and softhsm2"
    ),
]


def promised(figures: list[Figure]) -> None:
    """Prints them. What must be exact is so; a time is judged in full runs: a sample shares its machine."""
    print("", table(figures), sep="\n")
    missed = [each for each in figures if each.verdict == "missed" and (each.exactly or SOAK)]
    assert missed == []


def test_a_crowd_of_idle_connections_does_not_keep_an_honest_user_out() -> None:
    promised(crowd(CONNECTIONS) if SOAK else crowd(3000, seconds=2.0))


def test_a_call_that_hangs_holds_up_no_other_key_and_ends_the_process_at_its_limit() -> None:
    promised(hang(HANG_S if SOAK else 1.0))


def test_users_without_a_right_get_no_signature_by_asking_often() -> None:
    promised(outsiders(ATTEMPTS if SOAK else 2000))


def test_a_process_number_used_again_brings_no_signature() -> None:
    figures = pid_races(RACES if SOAK else 40)
    if not figures:
        pytest.skip("makes control groups: needs a hierarchy of version 2 that may be written")
    promised(figures)


def test_mutated_frames_crash_nothing_and_leave_nothing_open() -> None:
    promised(frames(FRAMES if SOAK else 20_000))
