"""The same lines for a real OpenBao server, through a real worker: none of them speaks of AWS."""

from __future__ import annotations

from pathlib import Path

from secretsd.control.check import Check, exit_code
from secretsd.errors import ExitCode
from tests.control.test_doctor import environment, examined
from tests.lab.openbao import OpenBao

__all__ = ["environment"]  # the fixture, for every test here


def configured(directory: Path, address: str, login: str, more: str = "") -> Path:
    path = directory / "secretsd.toml"
    path.write_text(f"""
[daemon]
runtime_dir = "{directory}/run"
state_dir = "{directory}/state"
[sources.bao]
type = "vault"
address = "{address}"
login = {login}
{more}
[bundles.one]
secrets = [
    {{ source = "bao", id = "doctor/there", variable = "THERE" }},
    {{ source = "bao", id = "doctor/gone", variable = "GONE" }},
]
""")
    return path


def of_vault(checks: dict[str, Check]) -> dict[str, Check]:
    """The lines of the source, none of which may speak of what it is not."""
    found = {name: check for name, check in checks.items() if "bao" in name or name.startswith("secret ")}
    text = str(found)
    assert "AWS" not in text
    assert "Secrets Manager" not in text
    return found


def test_what_is_granted_missing_and_who_we_are(tmp_path: Path, openbao: OpenBao) -> None:
    openbao.put("doctor/there", {"KEY": "fake-value-of-the-doctor"})
    openbao.allow("doctor", "secret/data/doctor/*")
    role_id, secret_id = openbao.new_role("doctor", "doctor")
    (tmp_path / "secret-id").write_text(secret_id)
    login = f'{{ method = "approle", role_id = "{role_id}", secret_id = "file:{tmp_path}/secret-id" }}'
    checks = examined(configured(tmp_path, openbao.address, login))
    assert of_vault(checks)["credentials bao"].detail == (
        "found: approle, for 0 h 20 min more, and renewed before that"
    )
    assert checks["endpoint bao"].detail == f"{openbao.address} answers"
    assert checks["clock bao"].state == "ok"
    assert checks["secret doctor/there"].detail == "may be read, for one"
    assert "bao kv put -mount=secret doctor/gone" in checks["secret doctor/gone"].fix
    assert exit_code(checks.values()) is ExitCode.REFUSED


def test_a_login_that_is_rejected_is_one_line_of_the_credentials(tmp_path: Path, openbao: OpenBao) -> None:
    (tmp_path / "secret-id").write_text("fake-secret-id")
    login = f'{{ method = "approle", role_id = "fake", secret_id = "file:{tmp_path}/secret-id" }}'
    checks = of_vault(examined(configured(tmp_path, openbao.address, login)))
    assert "rejects the login of source bao" in checks["credentials bao"].detail
    assert "auth/approle/role/NAME/secret-id" in checks["credentials bao"].fix
    assert checks["secret doctor/there"].detail == "not known"
    assert "fake-secret-id" not in str(checks)


def test_a_token_that_is_not_known_and_a_server_that_is_away(tmp_path: Path, openbao: OpenBao) -> None:
    (tmp_path / "token").write_text("s.fakefakefakefake")
    login = f'{{ method = "token", token = "file:{tmp_path}/token" }}'
    checks = of_vault(examined(configured(tmp_path, openbao.address, login)))
    assert "does not accept the token" in checks["credentials bao"].detail
    assert f"file:{tmp_path}/token" in checks["credentials bao"].fix
    checks = of_vault(examined(configured(tmp_path, f"unix://{tmp_path}/none.sock", login)))
    assert checks["endpoint bao"].detail == f"unix://{tmp_path}/none.sock: unreachable"
    assert "check that the server runs" in checks["endpoint bao"].fix.lower()


def test_a_certificate_that_is_not_trusted_is_told_with_openssls_reason(
    tmp_path: Path, openbao: OpenBao
) -> None:
    (tmp_path / "token").write_text(openbao.token)
    login = f'{{ method = "token", token = "file:{tmp_path}/token" }}'
    checks = of_vault(examined(configured(tmp_path, openbao.tls_address, login)))
    assert checks["endpoint bao"].detail == f"{openbao.tls_address}: tls-failed"
    assert "ca_file" in checks["endpoint bao"].fix
    trusted = configured(tmp_path, openbao.tls_address, login, f'ca_file = "{openbao.ca_file}"')
    assert of_vault(examined(trusted))["endpoint bao"].state == "ok"
