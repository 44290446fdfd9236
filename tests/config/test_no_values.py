"""No message may carry a value: someone may have pasted a secret into any field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from secretsd.config.load import load, load_checked
from secretsd.errors import ConfigError
from tests.config.support import GOOD

if TYPE_CHECKING:
    from tests.config.support import Etc

MARKER = "zQ7-pasted-secret-Xw"
FULL = (
    GOOD.replace(
        "[daemon]", '[daemon]\nseal_key = "credential:secretsd-seal-key"\nseal_counter = "tpm:0x1800e5d"'
    )
    + r"""
version = "11111111-2222-3333-4444-555555555555"
[[bundles.bot.secrets]]
source = "aws"
id = "b"
stage = "AWSPREVIOUS"
variables = { OTHER = "key" }
[bundles.bot.variables]
TOKEN = { required = true, default = "12", type = "integer", min = 1, max = 20, max_length = 9 }
OTHER = { choices = ["a", "b"], pattern = "[ab]" }
[[bundles.bot.outputs]]
path = "env"
format = "env"
[[bundles.bot.on_change]]
unit = "bot.service"
action = "signal"
signal = "SIGHUP"
confirm = "2s"
require_ack = false
[bundles.second]
owner = "root"
on_refusal = "keep"
refresh_interval = "1m"
max_age = "3d"
sealed_copy = { max_age = "7d" }
import_all = true
variables = { GA = { min_entropy_bits = 1 }, GB = { required = false } }
groups = [["GA", "GB"]]
outputs = [{ path = "a", format = "env" }, { path = "b", format = "env" }]
[[bundles.second.secrets]]
source = "files"
id = "bot.json"
[[bundles.second.secrets]]
source = "parameters"
id = "p"
label = "live"
[bundles.third]
owner = "root"
import_all = true
[[bundles.third.secrets]]
source = "aws"
id = "x"
[[bundles.third.secrets]]
source = "vault"
id = "bot/live"
[[bundles.third.secrets]]
source = "vault-token"
id = "p"
version = "3"
[sources.files]
type = "file"
directory = "/etc"
[sources.environment]
type = "env"
[sources.parameters]
type = "aws-ssm"
region = "us-east-1"
endpoint_url = "http://127.0.0.1:5000"
[sources.two-regions]
type = "aws-secretsmanager"
region = "us-east-1"
failover_regions = ["us-west-2"]
failover_endpoint_urls = { us-west-2 = "http://127.0.0.1:5001" }
[sources.two-regions.push]
queue_url = "http://127.0.0.1:5000/111122223333/q"
refresh_interval = "30m"
endpoint_url = "http://127.0.0.1:5000"
[sources.vault]
type = "vault"
address = "unix:///run/bao.sock"
namespace = "n"
ca_file = "/etc/ca.pem"
mount = "kv"
kv_version = 2
login = { method = "approle", role_id = "r", secret_id = "credential:s", mount = "approle" }
[sources.vault-token]
type = "vault"
address = "https://vault.example.com:8200"
login = { method = "token", token = "file:/run/token" }
[sources.vault-aws]
type = "vault"
address = "https://vault.example.com:8200"
login = { method = "aws-iam", role = "r", region = "us-east-1", mount = "aws", server_id = "h" }
[sources.local]
type = "aws-secretsmanager"
endpoint_url = "http://127.0.0.1:5000"
[metrics]
socket = "/run/metrics"
listen = "127.0.0.1:9478"
[unusual]
learning = "1d"
rate_factor = 10
rate_floor = 100
refusals = 20
probe = 5
[audit]
max_file_size = "64M"
keep = "30d"
keep_size = "1G"
remove_unshipped = false
shipper_state_dir = "/var/lib/shipper"
shipper_metrics_socket = "/run/shipper/m.sock"
shipper_metrics_listen = "127.0.0.1:9480"
[audit.journal]
socket = "/run/systemd/journal/socket"
[audit.s3]
bucket = "fake-trail"
prefix = "a/"
region = "us-east-1"
endpoint_url = "http://127.0.0.1:5000"
kms_key = "arn:aws:kms:us-east-1:111122223333:key/k"
retention = "2555d"
batch_size = "4M"
batch_age = "5m"
[audit.cloudwatch]
log_group = "/a"
region = "us-east-1"
endpoint_url = "http://127.0.0.1:5000"
[signer]
module = "/usr/lib/token.so"
token = "trading"
pin = "credential:hsm-pin"
sessions = 4
dispatch = "workers"
hang_limit = "5s"
queue = 9
max_connections_per_user = 9
max_requests_per_user = 9
approval_timeout = "10m"
socket = "/run/s.sock"
seqpacket_socket = "/run/s.seq"
metrics_socket = "/run/m.sock"
state_dir = "/var/lib/s"
[signer.keys.kek]
id = "01ab"
type = "aes256-wrap"
[signer.keys.cold]
label = "cold-wallet"
type = "rsa-2048"
operations = ["sign", "unwrap"]
mechanisms = ["pss", "sha2-256"]
wrapped_by = "kek"
max_message_bytes = 100
rate_limit = "50/s"
audit = "batched"
allow = [{ unit = "bot.service" }, { user = "root", group = "root" }]
approvers = [{ user = "root" }]
"""
)
VALUES = list(re.finditer(r"(?<== )(?:\"[^\"]*\"|'[^']*'|\d+|true|false)(?=[ ,\n}])", FULL)) + list(
    re.finditer(r"(?<=[\[ ])\"G?[abAB]\"", FULL)
)


def test_the_full_configuration_is_good(etc: Etc) -> None:
    etc.write(FULL)
    assert load_checked(etc.main)
    assert len(VALUES) >= 44


@pytest.mark.parametrize(
    "pasted", [MARKER, MARKER.replace("-", "_"), f"/{MARKER}\\n", f"http://u:{MARKER}@h/", f"({MARKER}"]
)
def test_no_message_ever_holds_a_value(etc: Etc, pasted: str) -> None:
    refused = 0
    for value in VALUES:
        for form in (f'"{pasted}"', f'["{pasted}"]', f'{{ x = "{pasted}" }}', f'"{pasted}', f"{pasted}"):
            etc.write(FULL[: value.start()] + form + FULL[value.end() :])
            try:
                load_checked(etc.main)
            except ConfigError as error:
                refused += 1
                _holds_no_marker(error)
    assert refused > 3 * len(VALUES)


def test_the_search_for_the_marker_finds_one(etc: Etc) -> None:
    with pytest.raises(ConfigError) as caught:
        load(etc.write(f"{FULL}{MARKER} = 1\n"))
    with pytest.raises(AssertionError):
        _holds_no_marker(caught.value)


def _holds_no_marker(error: ConfigError) -> None:
    inner = MARKER.split("-", maxsplit=1)[0]
    for text in (str(error), repr(error), *error.problems, repr(error.args), error.advice):
        assert inner not in text
    # What a traceback or a debugger shows of the causes must not bring it back.
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize(
    "value", ["1", "'x'", "[]", "[1]", "{}", "{ a = 1 }", "[{}]", "1.5", "true", "[[]]", "2024-01-01"]
)
def test_any_value_anywhere_gives_lines_and_no_traceback(etc: Etc, value: str) -> None:
    for found in VALUES:
        etc.write(FULL[: found.start()] + value + FULL[found.end() :])
        try:
            load(etc.main)
        except ConfigError as error:
            for line in error.problems:
                assert line.startswith(f"{etc.main}:"), line
    for table in ("daemon", "sources", "bundles", "sources.aws", "bundles.bot", "bundles.bot.variables"):
        etc.write(f"{table} = {value}\n")
        try:
            load(etc.main)
        except ConfigError as error:
            for line in error.problems:
                assert line.startswith(f"{etc.main}:1: "), line
