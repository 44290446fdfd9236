"""The journal: entries as journald reads them, and a journald that is stopped, gone or full."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.config.shipping import AuditJournal
from secretsd.shipping.courier import ChainPlace, Courier
from secretsd.shipping.sinks.interface import SinkError
from secretsd.shipping.sinks.journal import ANCHOR_ID, Journal, encoded
from tests.shipping.chains import Chain


class FakeJournald:
    """Takes datagrams, and reads them as systemd.journal-fields(7) and the native protocol say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def read(self) -> list[dict[str, str]]:
        found = []
        while True:
            try:
                found.append(decoded(self._socket.recv(1 << 20)))
            except BlockingIOError:
                return found

    @contextlib.contextmanager
    def drained(self) -> Iterator[list[dict[str, str]]]:
        """Reads all the time; gives what it has read so far."""
        found: list[dict[str, str]] = []
        stop = threading.Event()

        def drain() -> None:
            while not stop.wait(0.001):
                found.extend(self.read())

        thread = threading.Thread(target=drain)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join()

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


def decoded(data: bytes) -> dict[str, str]:
    fields = {}
    while data:
        end = data.index(b"\n")
        name, is_short, value = data[:end].partition(b"=")
        if is_short:
            data = data[end + 1 :]
        else:
            (size,) = struct.unpack("<Q", data[end + 1 : end + 9])
            value, data = data[end + 9 : end + 9 + size], data[end + 9 + size + 1 :]
        assert name.decode().replace("_", "").isalnum()
        assert name.isupper()
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[FakeJournald]:
    found = FakeJournald(tmp_path / "socket")
    yield found
    found.close()


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path / "audit")


@pytest.fixture
def courier(journald: FakeJournald, chain: Chain, tmp_path: Path) -> Courier:
    sink = Journal(AuditJournal(socket=journald.path))
    return Courier(sink, [ChainPlace(chain.daemon, chain.directory)], tmp_path / "state")


def test_an_entry_has_the_record_and_what_one_looks_for(
    courier: Courier, chain: Chain, journald: FakeJournald
) -> None:
    chain.add(1, '"action":"sign","key":"hot","actor":{"uid":7,"unit":"b.service"},"result":"refused"')
    line = chain.path.read_bytes().splitlines()[1].decode()
    courier.round()
    anchor, entry = journald.read()
    assert entry == {
        "MESSAGE": line,
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "secretsd-audit",
        "SECRETSD_CHAIN": "signer",
        "SECRETSD_SEQ": "1",
        "SECRETSD_HASH": chain.head.hash.decode(),
        "SECRETSD_ACTION": "sign",
        "SECRETSD_RESULT": "refused",
        "SECRETSD_KEY": "hot",
        "SECRETSD_ACTOR_UID": "7",
        "SECRETSD_ACTOR_UNIT": "b.service",
    }
    assert anchor["MESSAGE_ID"] == ANCHOR_ID
    assert anchor["SECRETSD_ANCHOR"] == f"signer:1:{chain.head.hash.decode()}"


def test_a_value_with_a_line_end_cannot_put_in_a_field() -> None:
    fields = {"MESSAGE": "one\nPRIORITY=0\ntwo", "PRIORITY": "6"}
    assert decoded(encoded(fields)) == fields


def test_a_journald_that_reads_nothing_blocks_nobody_and_loses_nothing(
    courier: Courier, chain: Chain, journald: FakeJournald
) -> None:
    chain.add(300)
    for _ in range(3):
        courier.round()
    assert courier.failure is not None
    assert courier.failure.code == "journal-full"
    seen: list[int] = []
    while len(seen) < 300:
        entries = [entry for entry in journald.read() if "SECRETSD_SEQ" in entry]
        seen += [int(entry["SECRETSD_SEQ"]) for entry in entries]
        courier.round()
    assert seen == list(range(1, 301))
    assert courier.failure is None


def test_a_burst_is_taken_as_fast_as_journald_reads(
    courier: Courier, chain: Chain, journald: FakeJournald
) -> None:
    chain.add(3000)
    with journald.drained() as entries:
        courier.round()
    assert courier.failure is None
    seen = [int(entry["SECRETSD_SEQ"]) for entry in entries + journald.read() if "SECRETSD_SEQ" in entry]
    assert seen == list(range(1, 3001))


def test_a_journald_that_is_gone_is_found_again_when_it_is_back(
    courier: Courier, chain: Chain, journald: FakeJournald
) -> None:
    journald.close()
    chain.add(3)
    courier.round()
    assert courier.failure is not None
    assert courier.failure.code == "journal-unreachable"
    assert "systemd-journald.socket" in courier.failure.advice
    back = FakeJournald(journald.path)
    courier.round()
    assert [entry["SECRETSD_SEQ"] for entry in back.read() if "SECRETSD_SEQ" in entry] == ["1", "2", "3"]
    back.close()


def test_a_record_that_no_datagram_holds_is_counted_and_the_rest_goes_on(
    courier: Courier, chain: Chain, journald: FakeJournald
) -> None:
    chain.add(1)
    chain.add(1, f'"action":"{"x" * 20_000_000}"')
    chain.add(1)
    courier.round()
    assert [entry["SECRETSD_SEQ"] for entry in journald.read() if "SECRETSD_SEQ" in entry] == ["1", "3"]
    assert courier.routes[0].counts.refused == 1


def test_no_error_of_the_system_stays_attached(tmp_path: Path, chain: Chain) -> None:
    sink = Journal(AuditJournal(socket=tmp_path / "none"))
    with pytest.raises(SinkError) as caught:
        sink.anchor("signer", chain.head, 0)
    assert caught.value.__context__ is None
