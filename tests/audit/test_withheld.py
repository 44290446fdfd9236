"""Refusals that are counted instead of written: one user, and a crowd, cannot fill the disk."""

from __future__ import annotations

import json

from secretsd.audit.withheld import Withheld


def counted(withheld: Withheld) -> dict[int | None, int]:
    records = [json.loads(f"{{{members}}}") for members in withheld.told()]
    return {each["uid"]: each["count"] for each in records}


def test_one_user_is_counted_beyond_the_rate_and_does_not_use_up_that_of_another() -> None:
    withheld = Withheld()
    written = sum(withheld.is_to_be_recorded(1001, 5.0) for _ in range(30_000))
    assert written == 10_000
    assert counted(withheld) == {1001: 20_000}
    assert counted(withheld) == {}
    assert withheld.is_to_be_recorded(1002, 5.0)
    assert sum(withheld.is_to_be_recorded(1001, 15.0) for _ in range(1000)) == 200


def test_a_crowd_of_users_fills_neither_the_disk_nor_the_memory_and_every_refusal_is_counted() -> None:
    withheld = Withheld()
    written = sum(withheld.is_to_be_recorded(uid, 5.0) for uid in range(100_000, 165_536) for _ in range(2))
    assert written == 50_000
    told = counted(withheld)
    assert len(told) == 65
    assert told[None] > 0
    assert written + sum(told.values()) == 2 * 65_536
