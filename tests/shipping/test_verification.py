"""From the bucket alone: what was altered, dropped, cut off or forged is found, and the record is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from secretsd.audit.chain import Head
from secretsd.shipping.manifest import MANIFEST
from tests.shipping.bed import Memory, Shipper
from tests.shipping.chains import Chain


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path / "audit")


@pytest.fixture
def shipper(chain: Chain) -> Shipper:
    return Shipper(chain, Memory())


def a_life(chain: Chain, shipper: Shipper) -> None:
    """A trail with everything that may happen to it: 100 records in three files, anchors, a torn line."""
    for number in range(1, 4):
        chain.add(20)
        shipper.anchor(time_ns=number * 60_000_000_000)
        shipper.ship()
        chain.tear()
        chain.add(12)
        if number < 3:
            chain.rotate()
    chain.add(1)
    shipper.ship()
    shipper.anchor()


def batches(memory: Memory, end: str = ".gz") -> list[str]:
    return sorted(key for key in memory.keys if "/batches/" in key and key.endswith(end))


def test_a_whole_trail_verifies_and_is_restored_byte_by_byte(chain: Chain, shipper: Shipper) -> None:
    a_life(chain, shipper)
    verdict = shipper.verified()
    assert verdict.findings == []
    assert (verdict.records, verdict.head, verdict.anchors) == (100, chain.head, 4)
    assert verdict.batches == len(batches(shipper.memory)) > 5
    assert shipper.restored() == chain.bytes()


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_content_that_was_altered_names_the_record(chain: Chain, shipper: Shipper, number: int) -> None:
    a_life(chain, shipper)
    key = batches(shipper.memory)[number]
    first = int(key.rpartition("/")[2].partition("-")[0])

    def change(body: bytes) -> bytes:
        text = gzip.decompress(body)
        at = text.index(f'"seq":{first},"time":"2026'.encode())
        return gzip.compress(text[:at] + text[at:].replace(b"2026", b"2025", 1))

    shipper.memory.alter(key, change)
    flaw = shipper.verified().flaw
    assert flaw is not None
    assert (flaw.record, flaw.key) == (first, key)


def test_what_was_written_over_does_not_hide_the_first(chain: Chain, shipper: Shipper) -> None:
    a_life(chain, shipper)
    for key in shipper.memory.keys:
        shipper.memory.put(key, b"overwritten")
    verdict = shipper.verified()
    assert verdict.flaw is None
    assert (verdict.records, verdict.head) == (100, chain.head)
    told = [each for each in verdict.findings if "written over" in each.why]
    assert len(told) == 2 * verdict.batches
    assert shipper.restored() == chain.bytes()


def test_a_delete_marker_hides_nothing(chain: Chain, shipper: Shipper) -> None:
    a_life(chain, shipper)
    for key in shipper.memory.keys:
        shipper.memory.delete(key)
    verdict = shipper.verified()
    assert verdict.flaw is None
    assert verdict.records == 100
    assert all("was deleted" in each.why for each in verdict.findings)
    assert len(verdict.findings) == len(shipper.memory.keys)


@pytest.mark.parametrize("end", [".gz", MANIFEST])
@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_removed_batch_is_named_by_its_first_record(
    chain: Chain, shipper: Shipper, number: int, end: str
) -> None:
    a_life(chain, shipper)
    key = batches(shipper.memory, end)[number]
    shipper.memory.remove(key)
    flaw = shipper.verified().flaw
    assert flaw is not None
    assert flaw.record == int(key.rpartition("/")[2].partition("-")[0])


def test_an_end_that_was_cut_off_is_found_by_its_anchor(chain: Chain, shipper: Shipper) -> None:
    a_life(chain, shipper)
    *_, last = batches(shipper.memory)
    for key in [key for key in shipper.memory.keys if key.startswith(last.removesuffix(".jsonl.gz"))]:
        shipper.memory.remove(key)
    first = int(last.rpartition("/")[2].partition("-")[0])
    flaw = shipper.verified().flaw
    assert flaw is not None
    assert flaw.record == first
    assert f"there were 100 records, and {first - 1} are here" in flaw.why


def test_what_was_anchored_a_moment_ago_may_still_be_on_its_way(chain: Chain, shipper: Shipper) -> None:
    chain.add(5)
    shipper.ship()
    chain.add(5)
    shipper.anchor()
    verdict = shipper.verified(age_s=60.0)
    assert verdict.flaw is None
    assert [each.why for each in verdict.findings] == ["records 6 to 10 have not been shipped yet"]


def test_a_rechained_forgery_is_found_by_its_anchors(chain: Chain, shipper: Shipper, tmp_path: Path) -> None:
    """All that the bucket holds was computed anew, as if Object Lock had not been: but for the anchors."""
    chain.add(10)
    shipper.anchor(time_ns=1)
    honest = chain.head
    chain.add(10)
    shipper.anchor(time_ns=2)
    forged = Chain(tmp_path / "forged")
    forged.add(10)
    assert forged.head == honest
    forged.add(1, members='"action":"nothing-to-see"')
    forged.add(9)
    forger = Shipper(forged, shipper.memory)
    forger.ship()
    flaw = forger.verified().flaw
    assert flaw is not None
    assert flaw.record == 11
    assert "computed anew from a record between 11 and 20 on" in flaw.why


def test_a_second_account_that_tells_otherwise_is_found(
    chain: Chain, shipper: Shipper, tmp_path: Path
) -> None:
    """Somebody with the host's credentials adds a history of his own."""
    a_life(chain, shipper)
    forged = Chain(tmp_path / "forged")
    forged.add(7)
    forged.add(1, members='"action":"nothing-to-see"')
    Shipper(forged, shipper.memory).ship()
    flaw = shipper.verified().flaw
    assert flaw is not None
    assert (flaw.record, "one of them is forged" in flaw.why) == (8, True)


def test_a_lost_cursor_ships_all_twice_and_that_is_no_flaw(chain: Chain, shipper: Shipper) -> None:
    a_life(chain, shipper)
    shipper.position, shipper.receipt = None, ""
    shipper.ship(limit_bytes=5000)
    verdict = shipper.verified()
    assert verdict.flaw is None
    assert [each.why for each in verdict.findings] == [
        "records 1 to 100 were shipped twice, and are the same"
    ]


def test_an_older_cursor_ships_the_end_twice_and_that_is_no_flaw(chain: Chain, shipper: Shipper) -> None:
    chain.add(20)
    shipper.ship()
    old = shipper.position, shipper.receipt
    chain.add(20)
    chain.tear()
    shipper.ship()
    shipper.position, shipper.receipt = old
    shipper.ship(limit_bytes=2000)
    verdict = shipper.verified()
    assert verdict.flaw is None
    assert [each.why for each in verdict.findings] == [
        "records 21 to 41 were shipped twice, and are the same"
    ]


def test_records_that_were_removed_before_they_were_shipped_are_named(chain: Chain, shipper: Shipper) -> None:
    chain.add(5)
    shipper.ship()
    chain.rotate()
    chain.add(5)
    shipper_had_to_see = chain.rotate()
    shipper_had_to_see.unlink()
    chain.add(5)
    shipper.ship()
    flaw = shipper.verified().flaw
    assert flaw is not None
    assert (flaw.record, flaw.why) == (
        6,
        "records 6 to 10 were removed from the host before they were shipped",
    )


def test_a_local_file_that_was_altered_afterwards_is_evidence(chain: Chain, shipper: Shipper) -> None:
    chain.add(10)
    shipper.ship()
    data = chain.path.read_bytes()
    chain.path.write_bytes(data.replace(b'"seq":4,"time":"2026', b'"seq":4,"time":"2025'))
    shipper.ship()
    assert shipper.verified().flaw is None  # behind what was shipped nobody looks while nothing is new
    at = data.index(b'{"seq":4')
    lines = Chain(chain.directory.parent / "other")
    lines.add(3)
    lines.add(7, members='"action":"nothing-to-see"')
    chain.path.write_bytes(data[:at] + lines.path.read_bytes()[lines.path.read_bytes().index(b'{"seq":4') :])
    shipper.ship()
    flaw = shipper.verified().flaw
    assert flaw is not None
    assert flaw.record == 4


def test_what_a_replaced_file_tells_twice_is_no_flaw(chain: Chain, shipper: Shipper) -> None:
    chain.add(10)
    settled = chain.head
    chain.add(3)
    shipper.ship()
    tail = chain.path.read_bytes().splitlines(keepends=True)[-3:]
    head, chain.head = chain.head, settled
    chain.replace()
    with chain.path.open("ab") as file:
        file.writelines(tail)
    chain.head = head
    chain.add(2)
    shipper.ship()
    verdict = shipper.verified()
    assert (verdict.flaw, verdict.head) == (None, Head(15, chain.head.hash))


def test_a_new_chain_is_told(chain: Chain, shipper: Shipper) -> None:
    chain.add(5)
    shipper.anchor()
    shipper.ship()
    chain.begin_anew()
    chain.add(2)
    shipper.ship()
    verdict = shipper.verified()
    assert verdict.flaw is None
    assert [each.why for each in verdict.findings] == ["begins a new chain, after record 5 of the one before"]


def test_an_upload_that_was_not_finished_is_told(chain: Chain, shipper: Shipper) -> None:
    a_life(chain, shipper)
    *_, content = batches(shipper.memory)
    shipper.memory.put(content.replace("batches/", "batches/9"), b"")
    assert [each.why for each in shipper.verified().findings] == [
        "has no manifest: its upload was not finished; see which batch came instead"
    ]
