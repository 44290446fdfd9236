"""What is allowed, and dangerous outside of development, is said."""

from __future__ import annotations

import pytest

from secretsd.config.cautions import cautions
from secretsd.config.models import Config


@pytest.mark.parametrize(
    ("address", "warns"),
    [
        ("http://vault.example.com:8200", True),
        ("http://10.0.0.7:8200", True),
        ("https://vault.example.com:8200", False),
        ("http://127.0.0.1:8200", False),
        ("http://[::1]:8200", False),
        ("http://localhost:8200", False),
        ("unix:///run/openbao/api.sock", False),
    ],
)
def test_a_token_that_everybody_on_the_way_can_read_is_warned_of(address: str, warns: bool) -> None:
    login = {"method": "token", "token": "file:/etc/secretsd/token"}
    source = {"type": "vault", "address": address, "login": login}
    told = cautions(Config.model_validate({"sources": {"bao": source}}))
    assert [line.startswith("source 'bao' sends its token") for line in told] == [True] * warns


def said(key: str, runtime_dir: str) -> tuple[str, ...]:
    return cautions(Config.model_validate({"daemon": {"seal_key": key, "runtime_dir": runtime_dir}}))


def test_a_seal_key_in_clear_on_the_disk_of_the_installed_service_is_told() -> None:
    (text,) = said("file:/etc/seal-key", "/run/secretsd")
    assert "in clear" in text
    assert "seal-setup" in text
    assert said("credential:seal-key", "/run/secretsd") == ()
    assert said("file:/home/me/seal-key", "/dev/shm/me") == ()
