"""From checks to one word, a document and lines for people."""

from __future__ import annotations

from secretsd.control.check import fail, ok, warn
from secretsd.errors import ExitCode
from secretsd.monitor import health

FINE = ok("log", "well")
ODD = warn("source aws", "does not answer", "look at the network")
BAD = fail("bundle bot", "is not published", "secretsctl status bot", ExitCode.TRY_AGAIN)


def test_the_worst_check_gives_the_word_and_nothing_wrong_is_ready() -> None:
    assert health.word([]) == health.word([FINE]) == "ready"
    assert health.word([FINE, ODD]) == "degraded"
    assert health.word([ODD, BAD, FINE]) == "not ready"


def test_people_read_the_worst_first_with_its_fix() -> None:
    assert health.text([FINE, ODD, BAD]).splitlines() == [
        "not ready",
        "fail  bundle bot: is not published",
        "      fix: secretsctl status bot",
        "warn  source aws: does not answer",
        "      fix: look at the network",
        "ok    log: well",
    ]


def test_programs_read_the_same() -> None:
    document = health.document("refresher", [FINE, BAD])
    assert document["state"] == "not ready"
    assert document["checks"] == [
        {
            "check": "bundle bot",
            "state": "fail",
            "detail": "is not published",
            "fix": "secretsctl status bot",
            "code": 75,
        },
        {"check": "log", "state": "ok", "detail": "well", "fix": "", "code": 0},
    ]
