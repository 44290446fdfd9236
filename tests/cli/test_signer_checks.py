"""doctor's lines on the signing service: what is wrong has its line, its word and its fix."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from secretsd.cli.signer_checks import judge, signer
from secretsd.config.models import Config
from secretsd.config.signer import Signer
from secretsd.control.check import Check, exit_code
from secretsd.errors import ExitCode
from secretsd.signing.errors import SigningError

CONFIG = Signer.model_validate(
    {
        "module": "/usr/lib/softhsm/libsofthsm2.so",
        "token": "trading",
        "pin": "credential:hsm-pin",
        "keys": {
            "orders": {"type": "hmac", "operations": ["hmac"], "allow": [{"user": "root"}]},
            "hot": {"type": "ecdsa-secp256k1", "operations": ["sign"], "allow": [{"user": "root"}]},
        },
    }
)
REPORT: dict[str, Any] = {
    "trouble": None,
    "token": {
        "library": "SoftHSM 2.6",
        "label": "trading",
        "model": "SoftHSM v2",
        "serial": "0001",
        "mechanisms": 77,
        "lacking": {},
    },
    "breaker_open": False,
    "waiting": 0,
    "under_way": 1,
    "audit_trouble": None,
    "audit_file": "/var/lib/secretsd-signer/audit/signer.jsonl",
    "sessions": 8,
    "dispatch": "workers",
    "keys": {"orders": 2, "hot": 1},
    "retired": [],
    "problems": {},
    "approvals": 0,
}


def judged(**changes: Any) -> list[Check]:
    return list(judge({**copy.deepcopy(REPORT), **changes}, CONFIG))


def wrong(**changes: Any) -> Check:
    found = [check for check in judged(**changes) if check.state != "ok"]
    assert len(found) == 1, found
    assert found[0].fix
    return found[0]


def test_all_is_well() -> None:
    assert {check.state for check in judged()} == {"ok"}
    assert [check.check for check in judged()] == ["signer", "token", "audit", "key orders", "key hot"]


def error(code: str) -> dict[str, str]:
    return {"code": code, "text": "what is wrong", "fix": "what to do"}


def test_each_trouble_has_its_line() -> None:
    assert wrong(trouble=error("pin-locked")) == Check(
        "token", "fail", "what is wrong", "what to do", ExitCode.CONFIG
    )
    assert wrong(breaker_open=True).check == "token"
    assert wrong(audit_trouble=error("audit-unavailable")).code is ExitCode.IO
    assert wrong(problems={"hot": error("key-missing")}, keys={"orders": 1}).check == "key hot"
    lacking = {**REPORT["token"], "lacking": {"hot": ["ECDSA"]}}
    assert "ECDSA" in wrong(token=lacking).detail
    assert wrong(token=None).state == "warn"
    assert wrong(trouble=error("a-newer-word")).code is ExitCode.BUG


def test_a_key_whose_newest_version_is_retired_is_not_called_well() -> None:
    assert wrong(retired=["hot"]).fix == "secretsctl keys generate hot"


def test_a_key_that_was_configured_without_a_reload_is_not_passed_over_in_silence() -> None:
    assert wrong(keys={"orders": 2}) == Check(
        "key hot", "warn", "the signer has not read it yet", "systemctl reload secretsd-signer", ExitCode.OK
    )
    trouble = judged(keys={}, trouble=error("token-missing"))
    assert [check.check for check in trouble if check.state != "ok"] == ["token"]


def test_who_may_not_ask_the_signer_is_not_told_to_restart_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SigningError("not-an-admin", "only admins may", advice="run it as root")

    monkeypatch.setattr("secretsd.cli.signer.get", refuse)
    config = CONFIG.model_copy(update={"socket": tmp_path / "signer.sock"})
    assert list(signer(Config(signer=config)))[-1].fix == "sudo secretsctl doctor"


def test_a_key_that_nobody_may_use_is_seen() -> None:
    keys = {"orders": {"type": "hmac", "operations": ["hmac"]}}
    config = Signer.model_validate({**CONFIG.model_dump(exclude={"keys"}, by_alias=True), "keys": keys})
    found = [check for check in judge(REPORT, config) if check.state == "warn"]
    assert [check.detail for check in found] == ["nobody may use it"]


def test_a_signer_that_is_not_there_and_a_pin_that_all_may_read(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("fake-pin")
    pin.chmod(0o644)
    changed = {"socket": tmp_path / "none.sock", "pin": f"file:{pin}", "module": tmp_path / "none.so"}
    checks = list(signer(Config(signer=CONFIG.model_copy(update=changed))))
    assert [check.check for check in checks] == ["signer.module", "pin", "signer"]
    assert checks[1].fix == f"chmod 600 {pin}"
    assert checks[2].state == "fail"
    assert exit_code(checks) is ExitCode.CONFIG
    pin.unlink()
    assert "No such file" in list(signer(Config(signer=CONFIG.model_copy(update=changed))))[1].detail


@pytest.mark.parametrize("config", [Config()])
def test_without_a_signer_there_is_nothing_to_say(config: Config) -> None:
    assert list(signer(config)) == []
