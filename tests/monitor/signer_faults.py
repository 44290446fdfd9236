"""The faults that the signer must tell of, on a real SoftHSM token behind the meddling module."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.monitor.asking import Page, ask, page_of
from tests.signing.daemon import Daemon
from tests.signing.http.serving import Client
from tests.signing.shim import FOREVER, Shim

KEY = {"type": "hmac", "operations": ["hmac"]}


class WatchedSigner:
    """The daemon as a process of its own, and its metrics socket."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.shim = Shim(directory)
        for name, value in self.shim.environment.items():
            patch.setenv(name, value)
        self.daemon = Daemon(directory, {"orders": KEY}, module=str(self.shim.module))
        self.path = directory / "metrics.sock"

    def use(self, times: int = 1, *, key: str = "orders", timeout_ms: int = 5000) -> None:
        client = Client(self.daemon.http)
        for _ in range(times):
            headers = {"X-Secretsd-Timeout-Ms": str(timeout_ms)}
            client.ask("POST", f"/v1/transit/hmac/{key}", {"input": "ZmFrZQ=="}, headers)

    def page(self) -> Page:
        status, text = ask(self.path, "/metrics")
        assert status == 200, text
        return page_of(text)

    def state(self, check: str) -> str:
        import json

        _, text = ask(self.path, "/readyz?json")
        states = [each["state"] for each in json.loads(text)["checks"] if each["check"] == check]
        return next((state for state in ("fail", "warn") if state in states), "ok")


Step = Callable[[WatchedSigner], None]


def token_is_gone(signer: WatchedSigner) -> None:
    for function in ("C_SignInit", "C_OpenSession", "C_FindObjects"):
        signer.shim.fail(function, "CKR_TOKEN_NOT_PRESENT", FOREVER)
    signer.use()


def token_is_back(signer: WatchedSigner) -> None:
    signer.shim.clear()


def key_is_not_there(signer: WatchedSigner) -> None:
    signer.daemon.configure({"orders": KEY, "ghost": KEY})
    signer.daemon.process.send_signal(signal.SIGHUP)


def key_is_made(signer: WatchedSigner) -> None:
    signer.daemon.generate("ghost")


def disk_is_full(signer: WatchedSigner) -> None:
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(signer.daemon.process.pid, resource.RLIMIT_FSIZE, (1, unlimited))
    signer.use()


def disk_has_room(signer: WatchedSigner) -> None:
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(signer.daemon.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


def uses_fail(signer: WatchedSigner) -> None:
    signer.use(20, timeout_ms=0)


def token_is_slow(signer: WatchedSigner) -> None:
    signer.shim.delay("C_Sign", 0.6)
    signer.use(5)


def strangers_ask(signer: WatchedSigner) -> None:
    signer.use(40, key="hot-wallet")


def names_are_searched(signer: WatchedSigner) -> None:
    for number in range(5):
        signer.use(key=f"wallet-{number}")
    until_s = time.monotonic() + 5
    while not signer.page()['secretsd_unusual_access_total{kind="probe"}']:
        assert time.monotonic() < until_s
        time.sleep(0.05)


def nothing(_: WatchedSigner) -> None:
    pass


@dataclass(frozen=True)
class SignerFault:
    """As Fault; what has no check of /readyz is told by its rules alone."""

    begin: Step
    end: Step
    check: str
    rules: tuple[str, ...]


SIGNER_FAULTS = {
    "token gone": SignerFault(
        token_is_gone, token_is_back, "token", ("SecretsdTokenDown", "SecretsdNotReady")
    ),
    "key not on the token": SignerFault(key_is_not_there, key_is_made, "key ghost", ("SecretsdKeyDown",)),
    "disk full": SignerFault(disk_is_full, disk_has_room, "audit log", ("SecretsdAuditDown",)),
    "uses fail": SignerFault(uses_fail, nothing, "", ("SecretsdSignerFailing",)),
    "token slow": SignerFault(token_is_slow, token_is_back, "", ("SecretsdSignerSlow",)),
    "names are searched": SignerFault(names_are_searched, nothing, "", ("SecretsdUnusualAccess",)),
    "strangers ask": SignerFault(strangers_ask, nothing, "", ("SecretsdSignerRefusals",)),
}
