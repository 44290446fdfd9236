"""A sink that fails, a chain that cannot be read, a process that is killed: nothing is lost or hidden."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from secretsd.audit.chain import Head
from secretsd.errors import FailureClass
from secretsd.shipping.courier import ChainPlace, Courier, Route
from secretsd.shipping.cursor import Cursor, CursorFile
from secretsd.shipping.pieces import Piece, Position
from secretsd.shipping.sinks.interface import Sent, SinkError
from secretsd.shipping.sinks.texts import failure_of
from tests.shipping.chains import Chain


class FakeSink:
    """Takes everything, until it is told otherwise."""

    name = "journal"
    limit_bytes = 1500
    look_every_s = 1.0
    batch_age_s = 0.0
    keeps_pieces = False

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []
        self.anchors: list[tuple[str, Head]] = []
        self.is_out = False
        self.at_most = 1000
        self.refuses = 0
        self.stops_after = 10**6  # records

    def is_due(self, piece: Piece, waited_s: float, *, is_finished: bool) -> bool:
        del piece, waited_s, is_finished
        return True

    def send(self, daemon: str, piece: Piece, receipt: str) -> Sent:
        del receipt
        self._fail()
        lines = [head.seq for head, _ in piece.lines()][: self.at_most][: self.stops_after - len(self.taken)]
        if not lines:
            raise SinkError(failure_of("journal-full", FailureClass.TRANSIENT, self.name))
        self.taken += [(daemon, seq) for seq in lines]
        return Sent(len(lines), refused=self.refuses)

    def anchor(self, daemon: str, head: Head, time_ns: int) -> None:
        del time_ns
        self._fail()
        self.anchors.append((daemon, head))

    def _fail(self) -> None:
        if self.is_out:
            raise SinkError(failure_of("journal-full", FailureClass.TRANSIENT, self.name))


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path / "audit")


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def courier(sink: FakeSink, chain: Chain, tmp_path: Path) -> Courier:
    return a_courier(sink, chain, tmp_path)


def a_courier(sink: FakeSink, chain: Chain, tmp_path: Path) -> Courier:
    return Courier(sink, [ChainPlace(chain.daemon, chain.directory)], tmp_path / "state")


def numbers(sink: FakeSink) -> list[int]:
    return [seq for _, seq in sink.taken]


def test_all_goes_out_in_order_and_once(courier: Courier, chain: Chain, sink: FakeSink) -> None:
    chain.add(100)
    assert courier.round() == sink.look_every_s
    assert numbers(sink) == list(range(1, 101))
    courier.round()
    assert len(sink.taken) == 100
    assert courier.routes[0].waiting.bytes == 0


def test_a_sink_that_takes_a_part_is_given_the_rest(courier: Courier, chain: Chain, sink: FakeSink) -> None:
    sink.at_most = 3
    chain.add(100)
    courier.round()
    assert numbers(sink) == list(range(1, 101))


def test_retries_are_spread_and_become_rare(
    courier: Courier, chain: Chain, sink: FakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    sink.is_out = True
    chain.add(3)
    assert [courier.round() for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert courier.failure is not None
    assert courier.routes[0].waiting.bytes == chain.path.stat().st_size
    sink.is_out = False
    assert courier.round() == 1.0
    assert courier.failure is None
    assert numbers(sink) == [1, 2, 3]


def test_an_outage_is_logged_once_with_its_advice(
    courier: Courier, chain: Chain, sink: FakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "secretsd")
    sink.is_out = True
    chain.add(3)
    for _ in range(5):
        courier.round()
    sink.is_out = False
    courier.round()
    assert [record.getMessage() for record in caplog.records] == [
        "journald takes no more entries",
        "records are shipped again",
    ]


def test_a_chain_that_cannot_be_read_does_not_hold_up_the_other(
    chain: Chain, sink: FakeSink, tmp_path: Path
) -> None:
    (tmp_path / "blocked").write_text("a file where a directory should be")
    places = [ChainPlace("refresher", tmp_path / "blocked"), ChainPlace(chain.daemon, chain.directory)]
    courier = Courier(sink, places, tmp_path / "state")
    for _ in range(5):
        chain.add(3)
        assert courier.round() == sink.look_every_s
    assert courier.failure is not None
    assert courier.failure.code == "io"
    assert numbers(sink) == list(range(1, 16))


def test_where_nothing_can_be_noted_nothing_is_sent_on_and_on(
    courier: Courier, chain: Chain, sink: FakeSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: what was sent and not noted goes again, but at growing intervals."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    (tmp_path / "state").write_text("a file where the cursors should be")
    chain.add(3)
    assert [courier.round() for _ in range(4)] == [2.0, 4.0, 8.0, 16.0]
    assert courier.failure is not None
    assert courier.failure.code == "io"
    (tmp_path / "state").unlink()
    courier.round()
    assert courier.failure is None
    assert len(sink.taken) == 5 * 3


def test_what_was_removed_altered_or_refused_is_counted_and_told(
    courier: Courier, chain: Chain, sink: FakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    chain.add(2)
    courier.round()
    chain.rotate()
    courier.round()
    chain.add(3)
    chain.rotate().unlink()
    chain.add(2)
    data = chain.path.read_bytes()
    chain.path.write_bytes(data.replace(b'"seq":7,"time":"2026', b'"seq":7,"time":"2025'))
    courier.routes[0].follower.close()
    sink.refuses = 1
    courier.round()
    counts = courier.routes[0].counts
    assert (counts.missing, counts.flaws, counts.refused, counts.records) == (3, 1, 1, 4)
    told = caplog.text
    assert "were removed before they were shipped" in told
    assert "does not fit; it is shipped as it is" in told
    assert "will never take these records" in told


def test_anchors_do_not_wait_for_what_is_behind(chain: Chain, sink: FakeSink, tmp_path: Path) -> None:
    class Late(FakeSink):
        def is_due(self, piece: Piece, waited_s: float, *, is_finished: bool) -> bool:
            return False

    late = Late()
    chain.add(5)
    Courier(late, [ChainPlace(chain.daemon, chain.directory)], tmp_path / "state").round()
    assert (late.taken, late.anchors) == ([], [("signer", chain.head)])


@pytest.mark.parametrize("dies_at", range(4))
def test_killed_at_any_moment_nothing_is_lost(
    chain: Chain, sink: FakeSink, tmp_path: Path, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the sink's answer, before and behind the cursor: what is sent twice is the same."""
    chain.add(60)
    saves = 0
    real = Route.save

    def save(self: Route, cursor: Cursor) -> None:
        nonlocal saves
        saves += 1
        if saves == dies_at:
            raise KeyboardInterrupt
        real(self, cursor)
        if saves == dies_at + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Route, "save", save)
    for _ in range(2):
        try:
            a_courier(sink, chain, tmp_path).round()
        except KeyboardInterrupt:
            saves = 10
    assert sorted(set(numbers(sink))) == list(range(1, 61))
    assert len(numbers(sink)) < 80


def test_a_cursor_that_is_no_cursor_begins_anew_and_is_kept(tmp_path: Path) -> None:
    file = CursorFile(tmp_path, "s3", "signer")
    position = Position(Head(7, b"a" * 64), "f" * 32, 99)
    file.save(Cursor(position, 5, '{"key":"k"}'))
    assert file.load() == Cursor(position, 5, '{"key":"k"}')
    whole = (tmp_path / "s3-signer.json").read_bytes()
    damaged = [
        whole.replace(b'"sending": 5', b'"sending": ' + b"9" * 30),
        whole.replace(b'"sending": 5', b'"sending": -5'),
        whole.replace(b'"offset": 99', b'"offset": ' + b"9" * 30),
        whole.replace(b'{\\"key', b"{key"),
    ]
    assert whole not in damaged
    for junk in (b"", b"{", b"[]", b'{"position":{"seq":1}}', b"\xff", b"[" * 100_000, *damaged):
        (tmp_path / "s3-signer.json").write_bytes(junk)
        assert file.load() == Cursor()
        assert (tmp_path / "s3-signer.unreadable").read_bytes() == junk
