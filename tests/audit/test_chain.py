"""Whatever is done to a file of records is found, and the first record that does not fit is named."""

from __future__ import annotations

import json

import pytest

from secretsd.audit import chain, record
from secretsd.audit.chain import Head, Span

_BOOT = "11111111-2222-3333-4444-555555555555"
_TIME = "2026-03-01T12:00:00.000000Z"


def a_chain(count: int = 10, host: str = "fake-host") -> list[bytes]:
    line, head = chain.opening("signer", host, _BOOT, _TIME)
    return [line, *records(head, count)]


def records(head: Head, count: int, members: str = '"action":"sign"') -> list[bytes]:
    lines, digest = [], head.hash
    for seq in range(head.seq + 1, head.seq + count + 1):
        digest, line = chain.seal(digest, f'{{"seq":{seq},"time":"{_TIME}",{members}'.encode())
        lines.append(line)
    return lines


def test_a_whole_chain_verifies() -> None:
    lines = a_chain()
    verdict = chain.verify(lines)
    assert (verdict.flaw, verdict.records, verdict.head) == (None, 10, chain.head_of(lines[-1]))
    assert all(json.loads(line) for line in lines)


def test_two_chains_never_begin_alike() -> None:
    assert chain.head_of(a_chain(0)[0]) != chain.head_of(a_chain(0, host="other-host")[0])


@pytest.mark.parametrize("number", [1, 5, 10])
def test_one_byte_edited_is_found_at_its_record(number: int) -> None:
    for at in range(len(a_chain()[number]) - 1):
        lines = a_chain()
        line = bytearray(lines[number])
        line[at] ^= 1
        lines[number] = bytes(line)
        flaw = chain.verify(lines).flaw
        assert flaw is not None, at
        # Where the line is no record any more, it is the next that has nothing to stand behind.
        assert flaw.record == number


@pytest.mark.parametrize("number", [1, 5, 9])
def test_a_dropped_record_is_named(number: int) -> None:
    lines = a_chain()
    del lines[number]
    flaw = chain.verify(lines).flaw
    assert flaw is not None
    assert (flaw.record, flaw.line) == (number, number + 1)
    assert flaw.why == f"missing: record {number + 1} comes after {number - 1}"


def test_two_records_in_another_order_are_found() -> None:
    lines = a_chain()
    lines[4], lines[5] = lines[5], lines[4]
    flaw = chain.verify(lines).flaw
    assert flaw is not None
    assert flaw.record == 4


def test_a_record_said_twice_is_found() -> None:
    lines = a_chain()
    lines.insert(5, lines[4])
    flaw = chain.verify(lines).flaw
    assert flaw is not None
    assert flaw.why == "record 4 comes after 4: put in, repeated or moved"


def test_a_forged_record_with_a_hash_of_its_own_is_found_at_the_next() -> None:
    lines = a_chain()
    before = chain.head_of(lines[4])
    assert before is not None
    lines[5:6] = records(before, 1, '"action":"verify"')
    flaw = chain.verify(lines).flaw
    assert flaw is not None
    assert flaw.record == 6


def test_the_opening_is_part_of_the_chain() -> None:
    lines = a_chain()
    lines[0] = lines[0].replace(b"fake-host", b"evil-host")
    assert chain.verify(lines).flaw is not None
    flaw = chain.verify(a_chain()[1:]).flaw
    assert flaw is not None
    assert "beginning of the file is gone" in flaw.why


def test_a_cut_inside_a_record_shows_as_unfinished_and_then_must_be_named() -> None:
    lines = a_chain()
    torn = lines[-1][:40]
    offset = sum(map(len, lines[:-1]))
    verdict = chain.verify([*lines[:-1], torn])
    assert (verdict.flaw, verdict.unfinished, verdict.head.seq) == (None, Span(offset, 40), 9)
    # Something else was written behind it: that is no crash.
    assert chain.verify([*lines[:-1], torn + b"\n", lines[-1]]).flaw is not None


@pytest.mark.parametrize("torn", [b'{"seq":10,"ti\n', b"\0" * 4096 + b"\n", b"half\nof\ntwo\n", b"\n"])
def test_torn_bytes_that_a_record_names_are_no_flaw(torn: bytes) -> None:
    lines = a_chain(9)
    offset, head = sum(map(len, lines)), chain.head_of(lines[-1])
    assert head is not None
    for extra in (0, 1):  # with and without the newline that the next start put behind it
        said = record.event("recovery", details={"torn": {"offset": offset, "bytes": len(torn) - extra}})
        after = [*lines, *torn.splitlines(keepends=True), *records(head, 1, said)]
        verdict = chain.verify(after)
        assert (verdict.flaw, verdict.torn) == (None, (Span(offset, len(torn) - extra),))
        assert chain.verify([*lines, *after[-1:]]).flaw is not None, "they are gone"
        assert chain.verify([*lines, b"more\n", *after[-2:]]).flaw is not None, "they are others"


def test_a_plain_cut_of_the_end_verifies_clean_and_only_the_head_tells() -> None:
    """The known limit of a chain, until its head is anchored elsewhere."""
    whole, cut = chain.verify(a_chain()), chain.verify(a_chain()[:-3])
    assert cut.flaw is None
    assert (whole.head.seq, cut.head.seq) == (10, 7)


def test_a_file_that_goes_on_must_follow_the_one_before() -> None:
    first = a_chain(3)
    head = chain.verify(first).head
    line, again = chain.opening("signer", "fake-host", _BOOT, _TIME, head)
    second = [line, *records(again, 2)]
    assert chain.verify(second, head).head.seq == 5
    other = chain.verify(second, Head(3, b"0" * 64)).flaw
    assert other is not None
    assert other.record == 4
    assert chain.verify(second).flaw is None


def test_an_empty_file_is_no_chain() -> None:
    assert chain.verify([]).flaw is not None


def test_text_in_a_member_cannot_look_like_a_record_or_a_tear() -> None:
    """Names are escaped: a quote in one of them ends nothing."""
    nasty = '","hash":"' + "0" * 64 + '"}\n{"seq":1,"torn":{"offset":0,"bytes":1}'
    lines = a_chain(0)
    head = chain.head_of(lines[0])
    assert head is not None
    lines += records(head, 3, record.event(nasty, details={nasty: nasty}))
    verdict = chain.verify(b"".join(lines).splitlines(keepends=True))
    assert (verdict.flaw, verdict.records) == (None, 3)
