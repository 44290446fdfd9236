"""Doctor's lines of the shipper: that it does not run, cannot send or has lost something is never `ok`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from secretsd.cli.shipper_checks import judge, shipper
from secretsd.config.models import Config
from tests.cli.documents import SHIPPER

_NOW_S = float(SHIPPER["time"])
_ALL = {"s3", "journal"}


def states(document: dict[str, Any], now_s: float = _NOW_S) -> list[str]:
    return [each.state for each in judge(document, _ALL, now_s)]


def well() -> dict[str, Any]:
    document = copy.deepcopy(SHIPPER)
    for sink in document["sinks"]:
        sink["failure"] = None
        for chain in sink["chains"]:
            chain.update(missing=0, flaws=0, refused=0)
    return document


def test_a_shipper_that_ships_is_ok() -> None:
    assert states(well()) == ["ok", "ok"]


def test_a_report_that_is_old_is_a_shipper_that_does_not_run() -> None:
    (check,) = judge(well(), _ALL, _NOW_S + 61)
    assert (check.state, "systemctl" in check.fix) == ("fail", True)


def test_a_sink_that_is_out_has_its_own_advice() -> None:
    failing = [each for each in judge(SHIPPER, _ALL, _NOW_S) if each.state == "fail"]
    assert [each.check for each in failing] == ["shipper s3"]
    assert failing[0].fix == SHIPPER["sinks"][1]["failure"]["advice"]


@pytest.mark.parametrize("count", ["missing", "flaws", "refused"])
def test_a_loss_is_a_warning(count: str) -> None:
    document = well()
    document["sinks"][0]["chains"][0][count] = 3
    assert states(document) == ["ok", "warn", "ok"]


def test_a_sink_that_was_configured_after_its_start_is_told() -> None:
    document = well()
    del document["sinks"][0]
    assert states(document) == ["warn", "ok"]


def config(state_dir: Path, **sinks: object) -> Config:
    return Config.model_validate({"audit": {"shipper_state_dir": str(state_dir), **sinks}})


def test_without_a_sink_nothing_is_said_and_with_one_a_missing_report_fails(tmp_path: Path) -> None:
    assert list(shipper(config(tmp_path))) == []
    assert [each.state for each in shipper(config(tmp_path, journal={}))] == ["fail"]
    for junk in ("", "[]", "{}", '{"time": 1e12, "sinks": [{}]}'):
        (tmp_path / "status.json").write_text(junk)
        assert [each.state for each in shipper(config(tmp_path, journal={}))][-1] == "fail"
    (tmp_path / "status.json").write_text(json.dumps({**well(), "time": 1e12}))
    assert {each.state for each in shipper(config(tmp_path, journal={}))} == {"ok"}
