"""`secretsctl aws-setup`: a template for what is configured, without a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.asking import ctl

_CONFIG = """
[daemon]
runtime_dir = "{0}/run"
state_dir = "{0}/state"
control_socket = "{0}/c.sock"
notify_socket = "{0}/n.sock"
[sources.aws]
type = "aws-secretsmanager"
{1}
[bundles.bot]
secrets = [{{ source = "aws", id = "prod/bot" }}]
variables = {{ TOKEN = {{}} }}
"""
OTHER = '[sources.other]\ntype = "aws-secretsmanager"'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "secretsd.toml"
    path.write_text(_CONFIG.format(tmp_path, ""))
    return path


def printed(config: Path, *words: str) -> dict[str, dict[str, object]]:
    code, out, err = ctl(None, "aws-setup", "--push", *words, "--config", str(config))
    assert (code, err) == (0, "")
    found: dict[str, dict[str, object]] = json.loads(out)
    return found


def test_each_variant_is_printed(config: Path) -> None:
    direct = printed(config)
    assert '"prod/bot"' in json.dumps(direct["Resources"]["Rule"])
    assert '"QueueName": "secretsd"' in json.dumps(direct)
    assert '"QueueName": "host-1"' in json.dumps(printed(config, "--queue", "host-1"))
    assert "Topic" in printed(config, "--fleet")["Resources"]
    assert "Subscription" in printed(config, "--fleet", "--queue", "host-1")["Resources"]
    assert "prod/bot" not in json.dumps(printed(config, "--all"))


def test_more_secrets_than_a_rule_has_room_for_become_all_and_it_says_so(config: Path) -> None:
    secrets = [f'{{ source = "aws", id = "prod/a-long-name-{n}", variable = "V{n}" }}' for n in range(200)]
    text = config.read_text().replace(
        'secrets = [{ source = "aws", id = "prod/bot" }]', f"secrets = [{', '.join(secrets)}]"
    )
    config.write_text(text.replace("variables = { TOKEN = {} }", ""))
    code, out, err = ctl(None, "aws-setup", "--push", "--config", str(config))
    assert (code, "no room" in err) == (0, True)
    assert "prod/a-long-name" not in out


def test_what_is_not_clear_is_a_usage_error_that_says_what_is_missing(config: Path) -> None:
    config.write_text(config.read_text().replace("[bundles.bot]", f"{OTHER}\n[bundles.bot]"))
    code, out, err = ctl(None, "aws-setup", "--push", "--config", str(config))
    assert (code, out) == (64, "")
    assert "--source NAME has to say which" in err
    assert "aws, other" in err
    assert ctl(None, "aws-setup", "--push", "--source", "other", "--config", str(config))[0] == 0
    assert ctl(None, "aws-setup", "--push", "--source", "no", "--config", str(config))[0] == 64
    assert ctl(None, "aws-setup", "--push", "--queue", "a b", "--config", str(config))[0] == 64
    assert ctl(None, "aws-setup", "--config", str(config))[0] == 64


def test_a_configuration_with_mistakes_is_78(config: Path) -> None:
    config.write_text("[sources.aws]\ntype = 1\n")
    assert ctl(None, "aws-setup", "--push", "--config", str(config))[0] == 78
