"""An hour without S3 and journald: what goes on meanwhile, and what is in the bucket afterwards.

    python -m tests.bench.audit_outage

A minute is a second. The installed package on Debian 12 with systemd. All the time somebody signs with a
strict key, an operator gives orders, and a secret is rotated. S3 answers 503 all the hour. journald is frozen
in the first half and stopped in the second, and in between the shipper is killed.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import secretsd.client
from secretsd.cli.main import run as secretsctl
from tests.bench.figures import Figure, table
from tests.bench.machine import package
from tests.lab import needs
from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws
from tests.lab.lab import Lab
from tests.lab.processes import end
from tests.shipping.conftest import BUCKET
from tests.shipping.strict_s3 import StrictS3
from tests.system import trails
from tests.system.machine import Machine, eventually

MINUTES = 60
_MINUTE_S = 1.0
_BATCH_AGE = "5s"  # 5 minutes
_SLOWEST_MS = 350  # the disk's 250, and 100 to know it
_CAUGHT_UP_S, _TOLD_S = 120.0, 20.0
_JOURNALD = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket"
_FREEZE = "kill -{signal} $(systemctl show -P MainPID systemd-journald)"
_SIGN = """
import sys, time
sys.path.insert(0, "/usr/local/lib/fake-bot")
import client
signer = client.Signer(timeout_s=5)
with open("/run/signed", "a", buffering=1) as log:
    while True:
        began, word = time.monotonic(), "ok"
        try:
            signer.sign("demo", b"fake order")
        except client.SigningError as error:
            word = error.code
        print(word, round((time.monotonic() - began) * 1000), file=log)
        time.sleep(0.02)
"""
_ORDER = "while :; do secretsctl reload bot >/dev/null 2>&1; echo $? >>/run/ordered; sleep 0.3; done"


@dataclass(frozen=True, slots=True)
class Hour:
    """What went on in it; `published` has for each secret that was rotated whether it was published."""

    signed: list[tuple[str, int]]  # "ok" or why not, and milliseconds
    orders: list[str]  # exit codes
    published: list[bool]
    records: int  # that were written in it
    waiting: int  # at its end, that the bucket did not have
    waiting_in_journal: int
    is_told: bool  # by then its status and doctor said so


@dataclass(frozen=True, slots=True)
class Survived:
    """The hour, and what came after it."""

    hour: Hour
    caught_up_s: float
    missing_in_journal: int
    restored: list[dict[str, Any]]  # what audit-restore says of each chain
    is_same: bool  # the files from S3 are those of the host


def measure() -> list[Figure]:
    """The hour. Raises SystemExit where no machine can run here."""
    if (reason := needs.missing()) is not None:
        raise SystemExit(reason)
    with FakeAws.local() as aws, Lab("bookworm", aws, deb=package()) as lab:
        return figures(survive(lab, MINUTES), MINUTES)


def survive(lab: Lab, minutes: int) -> Survived:
    """Lives through so many minutes, each a second, on a fresh machine."""
    machine = Machine(lab)
    _set_up(machine)
    with StrictS3(lab.aws.address, lab.host.network, trails.S3_ADDRESS) as s3:
        trails.ship(lab, trails.make_bucket(lab), _BATCH_AGE)
        with _at_work(lab):
            eventually(partial(_has_begun, lab), "S3 has the first", timeout_s=60)
            hour = _hour(machine, s3, minutes)
        caught_up_s = _catch_up(lab)
        assert not s3.refused, s3.refused
    restored, is_same = _restore(lab)
    return Survived(hour, caught_up_s, _missing(lab), restored, is_same)


def figures(found: Survived, minutes: int) -> list[Figure]:
    """What was refused, what went on, and whether nothing is lost."""
    hour, what = found.hour, f"{minutes} min without S3 and journald"
    scale = f"a minute is {_MINUTE_S:g} s; batch_age = {_BATCH_AGE}"
    records = sum(int(each["records"]) for each in found.restored)
    whole = sum(bool(each["is_whole"]) for each in found.restored)
    refused = [word for word, _ in hour.signed if word != "ok"]
    slowest_ms = max(spent_ms for _, spent_ms in hour.signed)
    stopped = [code for code in hour.orders if code != "0"]
    missed = f"at its end it missed {hour.waiting_in_journal}"
    retry = "the longest pause between two attempts is 60 s"

    def must(name: str, value: float, goal: float, note: str = "") -> Figure:
        return Figure(f"{what}: {name}", value, "", goal, exactly=True, note=note)

    return [
        Figure(f"{what}: records written meanwhile", hour.records, "", note=scale),
        Figure(f"{what}: not in S3 at its end", hour.waiting, "", hour.records, at_least=True),
        must("told by status and doctor", int(hour.is_told), 1),
        must("signatures refused", len(refused), 0, f"of {len(hour.signed)}, strict"),
        Figure(f"{what}: slowest signature", slowest_ms, "ms", _SLOWEST_MS),
        must("orders refused", len(stopped), 0, f"of {len(hour.orders)}"),
        must("rotated secrets published", sum(hour.published), len(hour.published)),
        Figure(f"{what}: until all is shipped", found.caught_up_s, "s", note=retry),
        must("records missing in the journal", found.missing_in_journal, 0, missed),
        must("chains whole, from S3 alone", whole, len(trails.FILES), f"{records} records"),
        must("restored byte by byte", int(found.is_same), 1),
    ]


def _set_up(machine: Machine) -> None:
    trails.make_key(machine.lab)
    machine.configure('refresh_jitter = "0s"')
    machine.add_bot("bot", "fake-key-0", None, bundle='refresh_interval = "1s"')
    machine.restart_secretsd()
    source = Path(secretsd.client.__file__).read_text(encoding="utf-8")
    machine.host.put("/usr/local/lib/fake-bot/client.py", source)
    eventually(lambda: machine.secretsctl("wait", "bot")[0] == 0, "the bundle is published")


@contextmanager
def _at_work(lab: Lab) -> Iterator[None]:
    """A bot signs, and an operator gives orders."""
    work = [["python3", "-I", "-c", _SIGN], ["sh", "-c", _ORDER]]
    processes = [lab.host.start(each) for each in work]
    eventually(lambda: all(_noted(lab)), "they are at work")
    try:
        yield
    finally:
        for process in processes:
            end(process)


def _hour(machine: Machine, s3: StrictS3, minutes: int) -> Hour:
    lab = machine.lab
    before, (signed, orders) = _records(lab), _noted(lab)
    with _outage(machine, s3) as second_half:
        published = _live(machine, minutes / 2, 1)
        second_half()
        published += _live(machine, minutes / 2, 2)
        after, (signed_after, orders_after) = _records(lab), _noted(lab)
        return Hour(
            signed=[_signature(line) for line in signed_after[len(signed) :]],
            orders=orders_after[len(orders) :],
            published=published,
            records=after - before,
            is_told=_is_told(lab),
            waiting=_records(lab) - sum(trails.shipped(lab, "s3").values()),
            waiting_in_journal=_missing(lab),
        )


@contextmanager
def _outage(machine: Machine, s3: StrictS3) -> Iterator[Callable[[], None]]:
    """What it yields begins the second half."""
    host = machine.host

    def second_half() -> None:
        host.systemctl("kill", "--signal=KILL", trails.UNIT)
        host.sh(_FREEZE.format(signal="CONT"))
        host.systemctl("stop", *_JOURNALD.split(), "systemd-journald")

    s3.is_out.set()
    host.sh(_FREEZE.format(signal="STOP"))
    yield second_half
    host.systemctl("start", *_JOURNALD.split(), "systemd-journald")
    s3.is_out.clear()


def _shows(machine: Machine, key: str) -> bool:
    return key in machine.host.read("/run/secretsd/bot/env")


def _is_told(lab: Lab) -> bool:
    """Whether an operator hears of it. The shipper, which was killed, has to find it out again."""
    with contextlib.suppress(AssertionError):
        eventually(lambda: "server-error" in trails.status(lab), "its status says it", timeout_s=_TOLD_S)
    doctor = lab.host.run(["secretsctl", "doctor"], check=False).stdout
    return bool(re.search("^fail +shipper s3", doctor, re.MULTILINE))


def _live(machine: Machine, minutes: float, number: int) -> list[bool]:
    until = time.monotonic() + minutes * _MINUTE_S
    published: list[bool] = []
    while time.monotonic() < until:
        key = f"fake-key-{number}-{len(published)}"
        machine.rotate("bot", key)
        with contextlib.suppress(AssertionError):
            eventually(partial(_shows, machine, key), key, timeout_s=10)
        published.append(_shows(machine, key))
        time.sleep(_MINUTE_S)
    return published


def _catch_up(lab: Lab) -> float:
    """Stops both daemons, so that the trails have an end. Returns how long it takes until all is shipped."""
    lab.host.systemctl("stop", "secretsd", "secretsd-signer")
    began = time.monotonic()
    eventually(lambda: trails.has_all(lab, ("s3", "journal")), "all is shipped", timeout_s=_CAUGHT_UP_S)
    return time.monotonic() - began


def _restore(lab: Lab) -> tuple[list[dict[str, Any]], bool]:
    """What `secretsctl audit-restore` says, with the bucket alone, and whether its files are the host's."""
    out = io.StringIO()
    place = [f"s3://{BUCKET}", "--region", REGION, "--endpoint-url", lab.aws.url]
    with tempfile.TemporaryDirectory() as to, mock.patch.dict("os.environ", FAKE_CREDENTIALS):
        with contextlib.redirect_stdout(out):
            secretsctl(["audit-restore", *place, "--to", to, "--json"])
        same = [_is_same(lab, Path(to), daemon) for daemon in trails.FILES]
    return json.loads(out.getvalue())["chains"], all(same)


def _is_same(lab: Lab, to: Path, daemon: str) -> bool:
    (restored,) = to.glob(f"*/{daemon}-*.jsonl")
    return restored.read_text() == lab.host.read(trails.FILES[daemon])


def _missing(lab: Lab) -> int:
    """Records that the journal does not have."""
    return sum(
        int(trails.last(lab, daemon)["seq"]) - len(set(trails.in_journal(lab, daemon)))
        for daemon in trails.FILES
    )


def _has_begun(lab: Lab) -> bool:
    return min(trails.shipped(lab, "s3").values(), default=0) > 0


def _signature(line: str) -> tuple[str, int]:
    word, spent_ms = line.split()
    return word, int(spent_ms)


def _records(lab: Lab) -> int:
    return sum(int(trails.last(lab, daemon)["seq"]) for daemon in trails.FILES)


def _noted(lab: Lab) -> tuple[list[str], list[str]]:
    """What the bot and the operator have noted so far."""
    signed, ordered = (lab.host.sh(f"cat /run/{name} 2>/dev/null || true") for name in ("signed", "ordered"))
    return signed.splitlines()[:-1], ordered.splitlines()[:-1]


if __name__ == "__main__":
    print(table(measure()))
