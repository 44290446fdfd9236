"""The real signer's metrics and health: what it counts, what turns it, what turns it back, what fires."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitor.asking import ask
from tests.monitor.promtool import fire
from tests.monitor.signer_faults import SIGNER_FAULTS, WatchedSigner

_SOON_S = 10.0


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedSigner]:
    watched = WatchedSigner(tmp_path, monkeypatch)
    with watched.daemon:
        watched.daemon.generate("orders")
        watched.use(3)
        yield watched


def becomes(signer: WatchedSigner, check: str, *states: str) -> None:
    until_s = time.monotonic() + _SOON_S
    while (state := signer.state(check)) not in states:
        assert time.monotonic() < until_s, f"{check} stays {state}: {signer.daemon.log()[-2000:]}"
        time.sleep(0.05)


@pytest.mark.parametrize("name", SIGNER_FAULTS)
def test_each_fault_turns_readyz_fires_its_rules_and_its_end_turns_it_back(
    signer: WatchedSigner, name: str, tmp_path: Path
) -> None:
    fault = SIGNER_FAULTS[name]
    assert signer.state(fault.check) == "ok"
    before = signer.page()
    fault.begin(signer)
    if fault.check:
        becomes(signer, fault.check, "fail")
        assert ask(signer.path, "/readyz")[0] == 503
        assert ask(signer.path, "/healthz") == (200, "ok\n")
    fire(tmp_path, fault.rules, before, signer.page())
    fault.end(signer)
    becomes(signer, fault.check, "ok")


def test_systemctl_status_says_that_nothing_is_signed_for_want_of_the_audit_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = SIGNER_FAULTS["disk full"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(os.fspath(tmp_path / "notify"))
        systemd.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "notify"))
        signer = WatchedSigner(tmp_path, monkeypatch)
        with signer.daemon:
            signer.daemon.generate("orders")
            fault.begin(signer)
            while b"STATUS=keys ready: 1; the audit log cannot be written" not in systemd.recv(4096):
                pass
            fault.end(signer)
            while not systemd.recv(4096).endswith(b"STATUS=keys ready: 1"):
                pass


def test_uses_are_counted_by_configured_names_and_strangers_by_code_alone(signer: WatchedSigner) -> None:
    signer.use(2)
    signer.use(4, key="nobody-knows-this-key")
    page = signer.page()
    labels = 'key="orders",mechanism="sha2-256",operation="hmac",result="ok"'
    assert page[f"secretsd_signer_requests_total{{{labels}}}"] == 5
    assert page['secretsd_signer_request_duration_seconds_count{key="orders",operation="hmac"}'] == 5
    assert sum(value for series, value in page.items() if series.startswith("secretsd_signer_refusals")) == 4
    assert not [series for series in page if "nobody-knows" in series]
    assert page["secretsd_signer_token_up{}"] == page["secretsd_audit_up{}"] == 1
    assert page["secretsd_audit_records_total{}"] > 10
