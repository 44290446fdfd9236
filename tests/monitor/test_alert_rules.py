"""Each alert rule fires on its fault, by Prometheus's own judgement of what a daemon in that fault serves."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from secretsd.monitor import catalogue
from tests.monitor.asking import Page
from tests.monitor.faults import FAULTS
from tests.monitor.promtool import MONITORING, RULES, check, fire, waits_min
from tests.monitor.shipper_faults import SHIPPER_FAULTS
from tests.monitor.signer_faults import SIGNER_FAULTS
from tests.monitor.test_refresher_health import root_logger, stage_of, turned
from tests.refresh.daemon import Home, live

__all__ = ["root_logger"]

DASHBOARD = MONITORING / "grafana-dashboard.json"


def test_every_rule_has_a_fault_it_fires_on() -> None:
    faults = (*FAULTS.values(), *SIGNER_FAULTS.values(), *SHIPPER_FAULTS.values())
    tried = {rule for fault in faults for rule in fault.rules}
    assert tried | {"SecretsdDown", "SecretsdShipperDown"} == set(waits_min())


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.rules])
def test_rules_fire_on_a_fault_of_the_refresher(
    home: Home, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault = FAULTS[name]

    async def scenario() -> None:
        async with stage_of(fault, home, monkeypatch) as stage:
            if name == "push silent":
                await fault.begin(stage)  # there is no push without the fault's own
                await fault.end(stage)
            before = await stage.daemon.page()
            await fault.begin(stage)
            await turned(stage.daemon, fault.check, "warn", "fail")
            after = await stage.daemon.page()
            await asyncio.to_thread(fire, tmp_path, fault.rules, before, after)
            await fault.end(stage)

    live(scenario())


def test_a_daemon_that_does_not_answer_is_told(tmp_path: Path) -> None:
    fire(tmp_path, ["SecretsdDown"], {"up{}": 1.0}, {"up{}": 0.0})


def test_what_fires_on_nothing_is_found(tmp_path: Path) -> None:
    well: Page = {"secretsd_ready{}": 1.0}
    with pytest.raises(AssertionError, match="FAILED"):
        fire(tmp_path, ["SecretsdNotReady"], well, well)


def test_promtool_takes_the_rules() -> None:
    check("check", "rules", str(RULES))


def queries() -> list[str]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_promtool_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries())]
    assert len(rules) > 20
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check("check", "rules", str(path))


def test_rules_and_dashboard_ask_for_metrics_and_labels_that_there_are() -> None:
    known = {metric.name: metric for metric in catalogue.EVERYTHING}
    text = RULES.read_text(encoding="utf-8") + "\n".join(queries())
    asked = set(re.findall(r"\bsecretsd_\w+", text))
    assert len(asked) > 30
    for name in asked:
        plain = re.sub(r"_(total|bucket|info)$", "", name)
        assert plain in known, f"nothing serves {name}"
        assert (known[plain].kind == "counter") == name.endswith("_total"), name
