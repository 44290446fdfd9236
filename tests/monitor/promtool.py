"""Prometheus's own tool as the judge: which alerts fire when a host's pages turn from one into another."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Collection
from pathlib import Path

from tests.monitor.asking import Page

MONITORING = Path(__file__).resolve().parents[2] / "packaging" / "monitoring"
RULES = MONITORING / "prometheus-rules.yml"
_HEALTHY_MIN, _FAULTY_MIN = 10, 80  # longer than any rule waits
_PATIENCE_MIN = {"s": 1 / 60, "m": 1, "h": 60}


def waits_min() -> dict[str, float]:
    """Each alert of the rules and its `for`, in minutes."""
    found = {}
    for part in RULES.read_text(encoding="utf-8").split("- alert: ")[1:]:
        span = re.search(r"^\s+for: (\d+)([smh])$", part, re.MULTILINE)
        found[part.split()[0]] = int(span[1]) * _PATIENCE_MIN[span[2]] if span else 0.0
    return found


def check(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def fire(directory: Path, alerts: Collection[str], before: Page, after: Page, job: str = "secretsd") -> None:
    """Fails where an alert is missing once `before` has become `after`, or where one fires before that."""
    waits = waits_min()
    expectations = [_expected(f"{_HEALTHY_MIN - 1}m", 'count(ALERTS{alertstate="firing"})', fires=False)]
    for alert in alerts:
        at = f"{_HEALTHY_MIN + waits[alert] + 3:.0f}m"
        query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0'
        expectations.append(_expected(at, query, fires=True))
    series = [
        {
            "series": _named(name, job),
            "values": f"{_values(before.get(name), _HEALTHY_MIN)} {_values(after.get(name), _FAULTY_MIN)}",
        }
        for name in dict.fromkeys((*before, *after))
    ]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": expectations}
    path = directory / "case.json"  # which is YAML, too
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    check("test", "rules", str(path))


def _expected(at: str, query: str, *, fires: bool) -> dict[str, object]:
    samples = [{"labels": "{}", "value": 1}] if fires else []
    return {"expr": query, "eval_time": at, "exp_samples": samples}


def _named(series: str, job: str) -> str:
    """With what Prometheus adds to each."""
    name, _, labels = series.partition("{")
    rest = labels.removesuffix("}")
    return f'{name}{{instance="host-1",job="{job}"{"," if rest else ""}{rest}}}'


def _values(value: float | None, minutes: int) -> str:
    # `AxN` is N + 1 samples.
    return f"{'_' if value is None else repr(value)}x{minutes - (value is not None)}"
