"""Unusual uses of keys, found by the real signer with peers of several users."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd import client
from secretsd.unusual import book
from tests.monitor.asking import ask, page_of
from tests.signing.daemon import Daemon
from tests.signing.test_native import in_child

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="acts as other users: needs root")

KEY = {
    "type": "hmac",
    "operations": ["hmac"],
    "audit": "batched",
    "allow": [{"user": name} for name in ("root", "daemon", "bin")],
}
BOT, OTHER, STRANGER = 1, 2, 65534
DAY_S = 86400.0
ASKED = "a-name-that-somebody-tries"


class Watched:
    """A signer whose sockets every user may reach."""

    def __init__(self, directory: Path) -> None:
        self.daemon = Daemon(directory, {"orders": KEY})
        self.state = directory / "state"

    def ask_as(self, uid: int, *keys: str, times: int = 1) -> None:
        path = str(self.daemon.native)

        def asked() -> str:
            with client.Signer(path, 5.0) as signer:
                for name in keys * times:
                    with contextlib.suppress(client.SigningError):
                        signer.hmac(name, b"m")
            return "done"

        assert in_child(asked, uid=uid) == "done"

    def restart(self) -> None:
        self.daemon.stop()
        self.daemon.start()

    def age(self, days: float) -> None:
        """What was learned is so much older; while the signer does not run."""
        path = self.state / book.FILE
        document = json.loads(path.read_bytes())
        document["age_s"] += days * DAY_S
        path.write_text(json.dumps(document))

    def found(self) -> list[tuple[str, str | None, int]]:
        """All that is on record."""
        return [
            (each["reason"], each.get("who"), each["count"])
            for each in self.records()
            if each["reason"] != "learning"
        ]

    def records(self) -> list[dict[str, Any]]:
        lines = (self.state / "audit/signer.jsonl").read_text().splitlines()
        return [each for line in lines[1:] if (each := json.loads(line))["action"] == "unusual"]

    def counted(self) -> dict[str, float]:
        _, text = ask(self.daemon.directory / "metrics.sock", "/metrics")
        start = "secretsd_unusual_access_total"
        return {name[len(start) :]: each for name, each in page_of(text).items() if name.startswith(start)}


@pytest.fixture
def signer() -> Iterator[Watched]:
    with tempfile.TemporaryDirectory(prefix="secretsd-unusual-") as name:
        Path(name).chmod(0o755)
        watched = Watched(Path(name))
        with watched.daemon:
            watched.daemon.generate("orders")
            yield watched


def soon(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_a_new_user_of_an_old_key_is_found_once_also_after_a_restart(signer: Watched) -> None:
    signer.ask_as(BOT, "orders")
    signer.daemon.stop()
    signer.age(days=2)
    signer.daemon.start()
    signer.ask_as(BOT, "orders")
    signer.ask_as(OTHER, "orders", times=3)
    soon(lambda: bool(signer.found()))
    assert signer.counted()['{kind="new-actor"}'] == 1
    signer.restart()
    signer.ask_as(OTHER, "orders", times=3)
    signer.daemon.process.kill()
    signer.daemon.process.wait()
    signer.daemon.start()
    signer.ask_as(OTHER, "orders")
    time.sleep(1.5)
    assert signer.found() == [("new-actor", "uid 2", 1)]
    assert signer.daemon.log().count("unusual access") == 1
    assert "uid 2 has used the key orders for the first time" in signer.daemon.log()
    assert signer.counted() == {
        f'{{kind="{kind}"}}': 0 for kind in ("new-actor", "rate", "refusals", "probe")
    }


def test_refusals_in_a_row_and_a_search_for_names_are_found_and_no_name_is_kept(signer: Watched) -> None:
    signer.ask_as(STRANGER, "orders", times=30)
    soon(lambda: bool(signer.found()))
    assert signer.found() == [("refusals", "uid 65534", 30)]
    signer.ask_as(BOT, *(f"{ASKED}-{number}" for number in range(10)))
    soon(lambda: len(signer.found()) == 2)
    assert signer.found()[1] == ("probe", "uid 1", 5)
    signer.daemon.stop()
    texts = [path.read_text() for path in signer.state.rglob("*") if path.is_file()]
    assert any("orders" in text for text in texts)
    assert not any(ASKED in text for text in [*texts, signer.daemon.log()])
    signer.daemon.start()


def test_a_burst_is_found_while_it_lasts(signer: Watched) -> None:
    signer.ask_as(BOT, "orders", times=5)
    signer.daemon.stop()
    signer.age(days=7)
    signer.daemon.start()
    signer.ask_as(BOT, "orders", times=500)
    soon(lambda: bool(signer.found()))
    (record,) = [each for each in signer.records() if each["reason"] == "rate"]
    assert (record["keys"], record["who"], record["usual"]) == (["orders"], "uid 1", 5)
    assert (record["count"] > 100, record["window_s"]) == (True, 60)


@pytest.mark.parametrize("damage", [b"\x00" * 4096, None])
def test_a_memory_that_cannot_be_read_stops_no_signature(signer: Watched, damage: bytes | None) -> None:
    path = signer.state / book.FILE
    signer.daemon.stop()
    if damage is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(damage)
    signer.daemon.start()
    signer.ask_as(OTHER, "orders")
    time.sleep(1.5)
    reasons = [each["reason"] for each in signer.records()]
    assert reasons == ["learning", "learning"], "the first start, and this one"
    assert signer.found() == [], "it is learned anew"


def test_a_key_that_was_away_for_a_while_is_not_learned_anew_and_a_new_one_is(signer: Watched) -> None:
    signer.ask_as(BOT, "orders")
    signer.daemon.stop()
    signer.age(days=2)
    signer.daemon.configure({"second": KEY})
    signer.daemon.start()
    signer.daemon.generate("second")
    signer.ask_as(BOT, "second")
    signer.daemon.configure({"orders": KEY, "second": KEY})
    signer.restart()
    signer.ask_as(OTHER, "orders", "second")
    soon(lambda: bool(signer.found()))
    (record,) = [each for each in signer.records() if each["reason"] == "new-actor"]
    assert (record["keys"], record["who"]) == (["orders"], "uid 2")
