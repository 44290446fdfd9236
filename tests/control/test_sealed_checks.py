"""What doctor says of sealed copies: each state of key and copy, with its fix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secretsd.config.models import Bundle, Config
from secretsd.control.check import Check
from secretsd.control.sealed_checks import sealed_checks
from secretsd.model import SealedHeader
from secretsd.refresh.sealed import refusals
from secretsd.refresh.state import BundleState
from tests.refresh.fakes import bundle

NOW = 1_800_000_000.0
HOUR_S = 3600.0


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(bytes(32))
    return path


def checks(place: str, state: BundleState, **daemon: str) -> dict[str, Check]:
    bot: Bundle = bundle(sealed_copy={"max_age": "2d"})
    config = Config.model_validate({"daemon": {"seal_key": place, **daemon}}).model_copy(
        update={"bundles": {"bot": bot, "plain": bundle()}}
    )
    found = list(sealed_checks(config, {"bot": state, "plain": BundleState()}, now=NOW))
    assert all(each.fix for each in found if each.state != "ok")
    return {each.check: each for each in found}


def copied(age_h: float) -> BundleState:
    at = NOW - age_h * HOUR_S
    header = SealedHeader("here", "bot", 3, (), sealed_at=at, confirmed_at=at, key_id="")
    return BundleState(sealed={1: None, 3: header})


def test_a_good_key_and_copy_are_ok_and_what_they_do_not_hold_against_is_said(key: Path) -> None:
    found = checks(f"file:{key}", copied(1.0))
    assert {name: each.state for name, each in found.items()} == {"seal key": "ok", "sealed bot": "ok"}
    assert "restores an older state of this disk" in found["seal key"].detail
    assert "1 h ago, a boot takes it for 1 d 23 h more" in found["sealed bot"].detail
    found = checks(f"file:{key}", copied(1.0), seal_counter="tpm:0x1800e5d")
    assert "restores" not in found["seal key"].detail


def test_a_key_that_is_missing_short_or_open_to_others_fails(key: Path) -> None:
    os.chmod(key, 0o640)
    assert "others" in checks(f"file:{key}", copied(1.0))["seal key"].detail
    os.chmod(key, 0o600)
    key.write_bytes(b"short")
    assert "5 bytes" in checks(f"file:{key}", copied(1.0))["seal key"].detail
    key.unlink()
    found = checks(f"file:{key}", copied(1.0))["seal key"]
    assert found.state == "fail"
    assert "seal-setup" in found.fix


def test_a_credential_that_systemd_has_not_handed_out_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert checks("credential:seal-key", copied(1.0))["seal key"].state == "fail"


def test_a_copy_that_is_missing_too_old_or_could_not_be_made_is_told(key: Path) -> None:
    place = f"file:{key}"
    assert "no copy yet" in checks(place, BundleState())["sealed bot"].detail
    assert "older than max_age" in checks(place, copied(49.0))["sealed bot"].detail
    state = copied(1.0)
    state.sealed_problem = refusals.not_written("bot", "/state", "No space left on device")
    failed = checks(place, state)["sealed bot"]
    assert failed.state == "fail"
    assert "No space left on device" in failed.detail
