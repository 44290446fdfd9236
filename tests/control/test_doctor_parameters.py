"""The same lines for parameters, through a real worker."""

from __future__ import annotations

from pathlib import Path

from secretsd.control.check import exit_code
from secretsd.errors import ExitCode
from tests.control.test_doctor import environment, examined
from tests.lab.aws import FakeAws

__all__ = ["environment"]  # the fixture, for every test here


def test_parameters_have_their_lines_with_fixes_that_speak_of_them(tmp_path: Path, aws: FakeAws) -> None:
    aws.client("ssm").put_parameter(Name="/bot/token", Value="fake", Type="SecureString")
    path = tmp_path / "secretsd.toml"
    path.write_text(f"""
[daemon]
runtime_dir = "{tmp_path}/run"
state_dir = "{tmp_path}/state"
[sources.ssm]
type = "aws-ssm"
region = "us-east-1"
endpoint_url = "{aws.url}"
[bundles.one]
secrets = [
    {{ source = "ssm", id = "/bot/token", variable = "TOKEN" }},
    {{ source = "ssm", id = "/bot/token", label = "live", variable = "LIVE" }},
    {{ source = "ssm", id = "/bot/gone", variable = "GONE" }},
]
""")
    checks = examined(path)
    assert checks["endpoint ssm"].detail == f"{aws.url} answers"
    assert checks["credentials ssm"].detail == "found: env"
    assert checks["secret /bot/token"].detail == "may be read, for one"
    assert "has no value there" in checks["secret /bot/token (live)"].detail
    assert "label-parameter-version" in checks["secret /bot/token (live)"].fix
    assert "there is no parameter /bot/gone" in checks["secret /bot/gone"].detail
    assert "put-parameter" in checks["secret /bot/gone"].fix
    assert exit_code(checks.values()) is ExitCode.REFUSED
