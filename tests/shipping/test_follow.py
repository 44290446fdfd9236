"""Whatever is done to the audit files, what was in them when we looked is read, once and in order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secretsd.shipping.follow import Follower
from secretsd.shipping.pieces import Piece, Position
from tests.shipping.chains import Chain

_LIMIT = 4096


class Reader:
    """Reads all there is, and remembers how far; `again` is a new process."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.position: Position | None = None
        self.follower = Follower(chain.directory, chain.daemon)

    def again(self) -> None:
        self.follower.close()
        self.follower = Follower(self._chain.directory, self._chain.daemon)

    def read(self) -> list[Piece]:
        pieces: list[Piece] = []
        while (piece := self.follower.read(self.position, _LIMIT)) is not None:
            pieces.append(piece)
            self.position = piece.end
            assert len(pieces) < 1000
        return pieces

    def numbers(self) -> list[int]:
        return [head.seq for piece in self.read() for head, _ in piece.lines()]


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path / "audit")


@pytest.fixture
def reader(chain: Chain) -> Reader:
    return Reader(chain)


def test_nothing_there_is_nothing_to_send(tmp_path: Path) -> None:
    assert Follower(tmp_path / "missing", "signer").read(None, _LIMIT) is None
    assert Follower(tmp_path, "signer").read(None, _LIMIT) is None
    assert Follower(tmp_path, "signer").latest() is None


def test_all_is_read_once_and_the_pieces_are_the_files_bytes(chain: Chain, reader: Reader) -> None:
    chain.add(100)
    pieces = reader.read()
    assert len(pieces) > 3
    chain.tear()
    chain.add(5)
    pieces += reader.read()
    assert b"".join(piece.data for piece in pieces) == chain.path.read_bytes()
    assert [piece.offset for piece in pieces[1:]] == [piece.end.offset for piece in pieces[:-1]]
    assert all(not piece.flaw and not piece.missing for piece in pieces)
    assert [head.seq for piece in pieces for head, _ in piece.lines()] == list(range(1, 107))
    assert reader.follower.latest() == chain.head
    assert reader.read() == []


def test_a_record_that_is_being_written_waits_for_its_end(chain: Chain, reader: Reader) -> None:
    chain.add(2)
    whole = chain.path.read_bytes()
    chain.path.write_bytes(whole[:-1])
    assert reader.numbers() == [1]
    chain.path.write_bytes(whole)
    assert reader.numbers() == [2]


@pytest.mark.parametrize("is_new_process", [False, True])
def test_rotation_at_any_moment_loses_nothing(chain: Chain, reader: Reader, *, is_new_process: bool) -> None:
    seen: list[int] = []
    for number in range(6):
        chain.add(7)
        if number % 2:
            seen += reader.numbers()
        chain.add(3)
        chain.rotate()
        if is_new_process:
            reader.again()
    chain.add(1)
    seen += reader.numbers()
    assert seen == list(range(1, 62))


def test_a_file_that_is_put_back_is_not_sent_again(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    assert reader.numbers() == [1, 2, 3, 4, 5]
    chain.put_back()
    chain.add(2)
    assert reader.numbers() == [6, 7]


def test_a_removed_file_that_is_still_open_is_read_to_its_end(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    assert reader.numbers() == [1, 2, 3, 4, 5]
    chain.add(4)
    chain.rotate().unlink()
    chain.add(1)
    assert reader.numbers() == list(range(6, 11))


def test_a_replaced_file_is_left_for_the_one_that_goes_on(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    assert reader.numbers() == [1, 2, 3, 4, 5]
    chain.add(3)
    chain.replace()
    chain.add(2)
    assert reader.numbers() == [6, 7, 8, 9, 10]


def test_shipped_files_may_be_removed(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    first = chain.rotate()
    chain.add(5)
    assert reader.numbers() == list(range(1, 11))
    first.unlink()
    chain.rotate().unlink()
    reader.again()
    chain.add(2)
    pieces = reader.read()
    assert [(piece.first, piece.head.seq, piece.missing, piece.flaw) for piece in pieces] == [(11, 12, 0, "")]


def test_records_removed_before_they_were_sent_are_counted(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    assert reader.numbers() == [1, 2, 3, 4, 5]
    chain.rotate()
    chain.add(10)
    chain.rotate().unlink()
    chain.add(2)
    reader.again()
    (piece,) = reader.read()
    assert (piece.missing, piece.first, piece.flaw) == (10, 16, "")


def test_a_new_chain_is_followed_and_told_by_its_beginning(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    reader.read()
    chain.begin_anew()
    chain.add(2)
    (piece,) = reader.read()
    assert (piece.follows.seq, piece.first, piece.missing, piece.flaw) == (0, 1, 0, "")


@pytest.mark.parametrize("length", [1, 2, 5, 30])
def test_a_new_chain_is_sent_from_its_first_file_however_far_its_numbers_are(
    chain: Chain, reader: Reader, length: int
) -> None:
    """The shipper was away meanwhile; the numbers of another chain say nothing of what was sent."""
    chain.add(5)
    reader.read()
    chain.begin_anew()
    for _ in range(2):
        chain.add(length)
        chain.rotate()
    chain.add(length)
    reader.again()
    assert reader.numbers() == list(range(1, 3 * length + 1))


def test_a_moved_file_sends_nothing_older_again(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    chain.rotate()
    chain.add(5)
    reader.read()
    chain.replace()
    reader.again()
    assert reader.numbers() == []
    chain.add(3)
    assert reader.numbers() == [11, 12, 13]


@pytest.mark.parametrize("is_new_process", [False, True])
def test_what_is_altered_after_it_was_sent_is_sent_again_as_it_is(
    chain: Chain, reader: Reader, *, is_new_process: bool
) -> None:
    chain.add(5)
    reader.read()
    data = chain.path.read_bytes()
    chain.path.write_bytes(data[:-100])
    if is_new_process:
        reader.again()
    (piece,) = reader.read()
    assert (piece.first, piece.head.seq, piece.flaw) == (1, 4, "its file was altered after it had been sent")
    assert reader.read() == []


def test_an_altered_record_is_sent_and_named(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    data = chain.path.read_bytes()
    chain.path.write_bytes(data.replace(b'"seq":3,"time":"2026', b'"seq":3,"time":"2025'))
    (piece,) = reader.read()
    assert piece.flaw == "record 3 was altered, or follows another one than record 2"
    assert piece.head == chain.head


def test_a_rechained_forgery_behind_what_was_sent_is_named(chain: Chain, tmp_path: Path) -> None:
    chain.add(5)
    reader = Reader(chain)
    reader.read()
    forged = Chain(tmp_path / "forged")
    forged.add(5, members='"action":"nothing-to-see"')
    forged.add(3)
    os.replace(forged.path, chain.path)
    pieces = reader.read()
    assert pieces[0].flaw
    assert pieces[-1].head == forged.head


def test_what_stands_in_the_way_and_is_no_audit_file_is_passed_over(chain: Chain, reader: Reader) -> None:
    chain.add(5)
    reader.read()
    chain.rotate()
    reader.read()
    chain.path.write_bytes(b"not an audit file\n")
    assert reader.read() == []
    chain.path.unlink()
    chain.path.mkdir()
    assert reader.read() == []


def test_what_is_to_be_sent_again_after_a_crash_is_the_same(chain: Chain, reader: Reader) -> None:
    chain.add(10)
    piece = reader.follower.read(None, _LIMIT)
    assert piece is not None
    chain.add(50)
    reader.again()
    assert reader.follower.read(None, _LIMIT, exact_bytes=len(piece.data)) == piece


def test_waiting_bytes_are_those_behind_the_position(chain: Chain, reader: Reader) -> None:
    chain.add(10)
    assert reader.follower.waiting_bytes(None) == len(chain.bytes())
    reader.read()
    assert reader.follower.waiting_bytes(reader.position) == 0
    chain.rotate()
    chain.add(10)
    chain.rotate()
    chain.add(1)
    assert reader.follower.waiting_bytes(reader.position) == sum(
        path.stat().st_size for path in chain.files()[1:]
    )
