"""What the daemon's part of `doctor` says of a real source with real faults between it and us."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from secretsd.config.load import load_checked
from secretsd.control import doctor
from secretsd.control.check import Check, exit_code
from secretsd.errors import ExitCode
from secretsd.refresh.conductor import Conductor
from tests.lab import faults, replica
from tests.lab.aws import FAKE_CREDENTIALS, FakeAws
from tests.lab.proxy import FaultProxy

VALUE = "fake-value-of-the-doctor"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker finds, and nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def config(tmp_path: Path, aws: FakeAws, proxy: FaultProxy) -> Path:
    """Two secrets that are there, for two bundles."""
    for name in ("prod/one", "prod/two"):
        aws.create(name, {"TOKEN": VALUE})
    path = tmp_path / "secretsd.toml"
    path.write_text(f"""
[daemon]
runtime_dir = "{tmp_path}/run"
state_dir = "{tmp_path}/state"
[sources.aws]
type = "aws-secretsmanager"
region = "us-east-1"
endpoint_url = "{proxy.url}"
[bundles.one]
secrets = [{{ source = "aws", id = "prod/one" }}]
variables = {{ TOKEN = {{}} }}
[bundles.two]
secrets = [{{ source = "aws", id = "prod/one" }}, {{ source = "aws", id = "prod/two", variable = "ALL" }}]
variables = {{ TOKEN = {{}} }}
""")
    return path


def examined(config: Path) -> dict[str, Check]:
    async def scenario() -> list[Check]:
        conductor = Conductor(config, load_checked(config))
        conductor.open()
        try:
            return await doctor.examine(conductor)
        finally:
            await conductor.stop()

    checks = asyncio.run(scenario())
    assert VALUE not in str(checks)
    assert all(check.fix for check in checks if check.state != "ok"), "each line that is not ok has its fix"
    by_name = {check.check: check for check in checks}
    assert len(by_name) == len(checks)
    return by_name


def states(checks: dict[str, Check], *names: str) -> list[str]:
    return [checks[name].state for name in names]


SECRETS = ("secret prod/one", "secret prod/two")


def test_all_is_well_and_each_line_says_what_was_seen(config: Path, proxy: FaultProxy) -> None:
    checks = examined(config)
    assert checks["credentials aws"].detail == "found: env"
    assert checks["endpoint aws"].detail == f"{proxy.url} answers"
    assert "agrees within 1 s" in checks["clock aws"].detail
    assert checks["secret prod/one"].detail == "may be read, for one, two"
    assert checks["state"].state == "ok"
    assert {check.check for check in checks.values() if check.state != "ok"} == {"alerts"}
    assert exit_code(checks.values()) is ExitCode.OK


def test_one_secret_that_is_denied_and_one_that_is_not_there(
    config: Path, aws: FakeAws, proxy: FaultProxy
) -> None:
    with proxy.broken(faults.deny("prod/two")):
        checks = examined(config)
    assert states(checks, "credentials aws", "endpoint aws", *SECRETS) == ["ok", "ok", "ok", "fail"]
    assert "secretsmanager:GetSecretValue" in checks["secret prod/two"].fix
    assert exit_code(checks.values()) is ExitCode.REFUSED

    with proxy.broken(faults.decryption_failure("prod/two")):
        checks = examined(config)
    assert "kms:Decrypt" in checks["secret prod/two"].fix

    aws.delete("prod/one", at_once=True)
    checks = examined(config)
    assert states(checks, *SECRETS) == ["fail", "ok"]
    assert "there is no secret prod/one" in checks["secret prod/one"].detail


def test_an_identity_that_may_read_nothing_is_said_of_the_credentials(
    config: Path, proxy: FaultProxy
) -> None:
    with proxy.broken(faults.DENY_ALL):
        checks = examined(config)
    assert checks["credentials aws"].state == "fail"
    assert "denies everything" in checks["credentials aws"].detail
    assert states(checks, *SECRETS) == ["warn", "warn"], "one line, and not one for each secret"
    assert exit_code(checks.values()) is ExitCode.REFUSED
    with proxy.broken(faults.UNKNOWN_CLIENT):
        checks = examined(config)
    assert states(checks, "credentials aws", *SECRETS) == ["fail", "warn", "warn"]


@pytest.mark.parametrize(
    ("fault", "code"), [(faults.SERVER_ERROR, "server-error"), (faults.THROTTLED, "throttled")]
)
def test_what_every_secret_meets_is_said_once_of_the_endpoint(
    config: Path, proxy: FaultProxy, fault: faults.Fault, code: str
) -> None:
    with proxy.broken(fault):
        checks = examined(config)
    assert checks["endpoint aws"].detail == f"{proxy.url}: {code}", "it is not well because it answers"
    assert states(checks, "endpoint aws", *SECRETS) == ["fail", "warn", "warn"]


def test_a_source_that_is_asked_in_another_region_says_so(
    config: Path, aws: FakeAws, proxy: FaultProxy
) -> None:
    for name in ("prod/one", "prod/two"):
        replica.put(aws, aws, name, {"TOKEN": VALUE})
    with FaultProxy.local(aws.address) as west:
        failover = (
            f'failover_regions = ["us-west-2"]\nfailover_endpoint_urls = {{ us-west-2 = "{west.url}" }}\n'
        )
        config.write_text(config.read_text().replace("[bundles.one]", f"{failover}[bundles.one]"))
        assert "region aws" not in examined(config)
        proxy.set(faults.SERVER_ERROR)
        checks = examined(config)
    assert "asked in us-west-2: us-east-1 has failed" in checks["region aws"].detail
    assert checks["endpoint aws"].detail == f"{west.url} answers"


def test_no_credentials_at_all(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    checks = examined(config)
    assert checks["credentials aws"].state == "fail"
    assert "no AWS credentials were found" in checks["credentials aws"].detail
    assert "endpoint aws" not in checks, "nobody asked it"
    assert states(checks, *SECRETS) == ["warn", "warn"]


def test_a_clock_that_is_wrong_is_measured(config: Path, proxy: FaultProxy) -> None:
    with proxy.broken(faults.CLOCK_SKEW):
        checks = examined(config)
    assert checks["clock aws"].state == "fail"
    # AWS's Date has whole seconds, and the fault is made of ours.
    assert checks["clock aws"].detail.startswith(("your clock is 15 min ", "your clock is 14 min 59 s"))
    assert "behind its" in checks["clock aws"].detail
    assert "timedatectl" in checks["clock aws"].fix
    assert states(checks, "endpoint aws", *SECRETS) == ["ok", "warn", "warn"]


def test_an_endpoint_that_is_away_is_one_line_and_not_one_for_each_secret(
    config: Path, proxy: FaultProxy
) -> None:
    proxy.stop()
    checks = examined(config)
    assert states(checks, "endpoint aws", *SECRETS) == ["fail", "warn", "warn"]
    assert checks["endpoint aws"].detail == f"{proxy.url}: unreachable"
    assert checks["endpoint aws"].fix.startswith("Check DNS")
    assert exit_code(checks.values()) is ExitCode.UNAVAILABLE


def test_an_endpoint_that_drips_does_not_hold_the_doctor_up(config: Path, proxy: FaultProxy) -> None:
    with proxy.broken(faults.Drip()):
        checks = examined(config)
    assert states(checks, "endpoint aws", *SECRETS) == ["fail", "warn", "warn"]
    assert "did not answer within 9 s" in checks["endpoint aws"].detail


def test_a_configuration_that_waits_to_be_loaded_and_a_state_directory_that_is_gone(config: Path) -> None:
    async def scenario() -> list[Check]:
        conductor = Conductor(config, load_checked(config))
        conductor.open()
        config.write_text(config.read_text().replace("[bundles.two]", "[bundles.renamed]"))
        state_dir = Path(conductor.config.daemon.state_dir)
        state_dir.rename(state_dir.with_name("moved"))
        state_dir.touch()  # or the audit log would make a directory again
        try:
            return await doctor.examine(conductor)
        finally:
            await conductor.stop()

    checks = {check.check: check for check in asyncio.run(scenario())}
    assert checks["running"].fix == "systemctl reload secretsd"
    assert checks["state"].state == "fail"


def test_a_change_of_the_signers_table_is_none_of_the_daemons(config: Path) -> None:
    async def scenario() -> list[Check]:
        conductor = Conductor(config, load_checked(config))
        conductor.open()
        signer = '[signer]\nmodule = "/usr/lib/fake.so"\ntoken = "fake"\npin = "credential:hsm-pin"\n'
        config.write_text(config.read_text() + signer)
        try:
            return await doctor.examine(conductor)
        finally:
            await conductor.stop()

    checks = asyncio.run(scenario())
    assert checks
    assert "running" not in {check.check for check in checks}


def test_a_helper_that_is_not_there_is_found_before_a_rotation_needs_it(config: Path, tmp_path: Path) -> None:
    text = config.read_text().replace("[daemon]", f'[daemon]\nnotify_socket = "{tmp_path}/n"')
    config.write_text(text + '[[bundles.one.on_change]]\nunit = "bot.service"\naction = "reload"\n')
    check = examined(config)["helper"]
    assert (check.state, check.code) == ("fail", ExitCode.TRY_AGAIN)
    assert "secretsd-notify.socket" in check.fix
