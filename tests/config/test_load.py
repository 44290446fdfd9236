from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from secretsd.config.models import Output
from secretsd.config.on_change import OnChange
from secretsd.config.variables import VariableRule
from secretsd.model import SecretRef
from tests.config.support import GOOD

if TYPE_CHECKING:
    from tests.config.support import Etc

# The example of the contract, without what is not built yet.
CONTRACT = r"""
[daemon]
refresh_interval = "5m"            # systemd time spans; a bundle may set its own
refresh_jitter = "30s"

[sources.aws]
type = "aws-secretsmanager"
region = "us-east-1"

[bundles.trading-bot]
owner = "trading-bot"
on_refusal = "keep"                # or "withdraw": what an authoritative refusal does

[[bundles.trading-bot.secrets]]
source = "aws"
id = "ai-trading-bot/production"   # a JSON object; the variables table says which keys are taken

[[bundles.trading-bot.secrets]]
source = "aws"
id = "prod/bybit/api"
variables = { BYBIT_API_KEY = "api_key", BYBIT_API_SECRET = "api_secret" }

[bundles.trading-bot.variables]    # the allow-list and its rules
BINANCE_API_KEY    = { min_length = 16 }
BINANCE_API_SECRET = { min_length = 16, min_entropy_bits = 80 }
TRADING_MODE       = { choices = ["paper", "live"] }
MAX_POSITION_SIZE  = { type = "decimal", min = 0, max = 1, default = "0.1" }
SLACK_WEBHOOK      = { required = false, pattern = "https://hooks\\.slack\\.com/.*" }

[[bundles.trading-bot.outputs]]
path = "env"
format = "env"

[[bundles.trading-bot.on_change]]
unit = "trading-bot.service"
action = "reload"                  # restart, signal (then signal = "SIGHUP"), none
confirm = "10s"                    # the unit must still be active after this long
require_ack = false                # true: loaded only once the bot has said so
"""


def test_the_contracts_example(etc: Etc) -> None:
    config = etc.load(CONTRACT)
    assert not config.foreground
    assert config.daemon.refresh_interval_s == 300
    assert config.daemon.refresh_jitter_s == 30
    assert config.sources["aws"].region == "us-east-1"
    bundle = config.bundles["trading-bot"]
    assert bundle.owner == "trading-bot"
    assert [secret.ref for secret in bundle.secrets] == [
        SecretRef("aws", "ai-trading-bot/production"),
        SecretRef("aws", "prod/bybit/api"),
    ]
    assert bundle.mapped_names == {"BYBIT_API_KEY", "BYBIT_API_SECRET"}
    assert bundle.wanted_names == bundle.mapped_names | {
        "BINANCE_API_KEY", "BINANCE_API_SECRET", "TRADING_MODE", "MAX_POSITION_SIZE", "SLACK_WEBHOOK",
    }  # fmt: skip
    assert bundle.secret_of("BYBIT_API_KEY") is bundle.secrets[1]
    assert bundle.secret_of("TRADING_MODE") is bundle.secrets[0]
    rule = bundle.variables["SLACK_WEBHOOK"]
    assert not rule.required
    assert rule.compiled_pattern is not None
    assert rule.compiled_pattern.fullmatch("https://hooks.slack.com/x")
    assert bundle.variables["MAX_POSITION_SIZE"].max == Decimal(1)
    assert bundle.variables["BINANCE_API_SECRET"].min_entropy_bits == 80
    assert bundle.outputs == (Output(path="env", format="env"),)
    assert bundle.on_change == (OnChange(unit="trading-bot.service", action="reload", confirm=10.0),)


def test_defaults(etc: Etc) -> None:
    config = etc.load(GOOD.replace('refresh_jitter = "0"\n', ""))
    assert config.daemon.refresh_interval_s == 300
    assert config.daemon.refresh_jitter_s == 30
    assert config.daemon.runtime_dir == Path("/run/secretsd")
    assert config.daemon.state_dir == Path("/var/lib/secretsd")
    assert config.daemon.control_socket == Path("/run/secretsd/control.sock")
    assert config.daemon.notify_socket == Path("/run/secretsd-notify.sock")
    bundle = config.bundles["bot"]
    assert bundle.on_refusal == "keep"
    assert bundle.refresh_interval_s is None
    assert not bundle.import_all
    assert [(output.path, output.format) for output in bundle.outputs] == [("env", "env")]
    assert bundle.on_change == ()
    assert bundle.variables.get("TOKEN", VariableRule()).required
    entry = etc.load(GOOD + '[[bundles.bot.on_change]]\nunit = "a.service"\naction = "restart"').bundles[
        "bot"
    ]
    assert entry.on_change[0].confirm_s == 2
    assert not entry.on_change[0].require_ack


def test_an_empty_configuration_has_no_bundles(etc: Etc) -> None:
    config = etc.load("")
    assert config.bundles == {}
    assert config.sources == {}


def test_the_control_socket_follows_the_runtime_directory(etc: Etc) -> None:
    config = etc.load('[daemon]\nruntime_dir = "/tmp/x/"')
    assert config.daemon.control_socket == Path("/tmp/x/control.sock")
    assert config.foreground


def test_fractions_are_exact(etc: Etc) -> None:
    rules = "[bundles.bot.variables]\nTOKEN = { type = 'decimal', min = 0.1, max = 0.30000000000000004 }"
    rule = etc.load(GOOD + rules).bundles["bot"].variables["TOKEN"]
    assert rule.min == Decimal("0.1")
    assert rule.max == Decimal("0.30000000000000004")


def test_the_configuration_does_not_change_later(etc: Etc) -> None:
    config = etc.load(GOOD)
    with pytest.raises(ValidationError):
        config.daemon.refresh_jitter_s = 1.0  # type: ignore[misc]


def test_every_bundle_of_many_is_loaded(etc: Etc) -> None:
    before, header, after = CONTRACT.partition("[bundles.trading-bot]")
    one = header + after
    text = before + "".join(one.replace("trading-bot", f"bot-{number}") for number in range(200))
    config = etc.load(text)
    assert len(config.bundles) == 200
    assert config.bundles["bot-77"].on_change[0].unit == "bot-77.service"
