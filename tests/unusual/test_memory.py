"""The memory and the wire: what is damaged is refused as a whole, and never a crash."""

from __future__ import annotations

import contextlib
import json
import random

import pytest

from secretsd.config.unusual import Unusual
from secretsd.unusual import memory, wire
from secretsd.unusual.detector import Detector
from secretsd.unusual.findings import OTHERS, Finding


def learned() -> bytes:
    detector = Detector(Unusual())
    detector.configure(Unusual(), [("key", "orders"), ("secret", "aws", "prod/bot")], 0.0)
    detector.used([("key", "orders")], "bot.service")
    detector.judge(5.0)
    return json.dumps(memory.encoded(detector.uses, age_s=100.0, wall=1000.0)).encode()


def test_what_was_learned_comes_back_as_it_was() -> None:
    uses, age_s = memory.decoded(learned(), wall=1010.0)
    assert age_s == 110.0
    assert json.dumps(memory.encoded(uses, age_s=100.0, wall=1000.0)).encode() == learned()


def test_no_thing_is_learned_about_for_ever() -> None:
    text = learned().replace(b'"born_s": 0.0', b'"born_s": 1e300')
    assert text != learned()
    uses, age_s = memory.decoded(text, wall=1000.0)
    assert max(watched.born_s for watched in uses.things.values()) == age_s


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"{}",
        learned()[:-10],
        learned().replace(b'"schema": 1', b'"schema": 2'),
        learned().replace(b'"age_s": 100.0', b'"age_s": NaN'),
        learned().replace(b'"age_s": 100.0', b'"age_s": 1e999'),
        learned().replace(b'"age_s": 100.0', b'"age_s": -5'),
        learned().replace(b"[0, 1,", b"[1e999, 1,"),
        learned().replace(b"[0, 1,", b'["x", 1,'),
        learned().replace(b'"by": {}', b'"by": []'),
    ],
)
def test_a_damaged_memory_is_refused_as_a_whole(text: bytes) -> None:
    assert text != learned()
    with pytest.raises(ValueError, match="damaged"):
        memory.decoded(text, wall=0.0)


def test_no_damage_of_single_bytes_is_a_crash() -> None:
    dice = random.Random(1)
    for _ in range(2000):
        text = bytearray(learned())
        text[dice.randrange(len(text))] = dice.randrange(256)
        with contextlib.suppress(ValueError):
            memory.decoded(bytes(text), wall=0.0)


SENT = Finding("rate", "bot.service", 5000, (("key", "orders"),), 20, 60)


@pytest.mark.parametrize(
    "finding",
    [
        SENT,
        Finding("new-actor", "uid 0", 2, (("key", "a"), ("key", "b"))),
        Finding("refusals", OTHERS, 20),
        Finding("probe", "_run-u1\\x2d@a:b.service", 5, window_s=600),
        Finding("probe", "", 12),
    ],
)
def test_a_finding_arrives_as_it_was_sent(finding: Finding) -> None:
    assert wire.decoded(wire.encoded(finding, 17.5)) == (finding, 17.5)


def test_a_finding_with_long_names_is_sent_with_fewer() -> None:
    things = tuple(("key", f"{number:03}" * 80) for number in range(40))
    text = wire.encoded(Finding("new-actor", "bot.service", 40, things), 0.0)
    assert len(text) <= wire.MAX_BYTES
    assert wire.decoded(text)[0].count == 40
    assert wire.decoded(text)[0].things


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"schema": 1', '"schema": 2'),
        ('"at": 17.5', '"at": NaN'),
        ('"at": 17.5', '"at": 1e99'),
        ('"at": 17.5', '"at": "now"'),
        ('"kind": "rate"', '"kind": "recovered"'),
        ('"who": "bot.service"', '"who": "bot.service\\n; rm -rf /"'),
        ('"who": "bot.service"', '"who": 7'),
        ('"who": "bot.service"', '"who": null'),
        ('"orders"', '"a \\u202e b"'),
        ('"orders"', '["orders"]'),
        ('"count": 5000', '"count": true'),
        ('"count": 5000', '"count": -1'),
        ('"count": 5000', '"count": 1e400'),
        ('"things": [["key", "orders"]]', '"things": "orders"'),
    ],
)
def test_what_no_signer_sends_is_refused(old: str, new: str) -> None:
    text = wire.encoded(SENT, 17.5).decode()
    assert old in text
    with pytest.raises(ValueError, match="no finding"):
        wire.decoded(text.replace(old, new).encode())
