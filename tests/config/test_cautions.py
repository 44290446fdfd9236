"""What is allowed and should be seen all the same."""

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
    said = cautions(Config.model_validate({"sources": {"bao": source}}))
    assert [line.startswith("source 'bao' sends its token") for line in said] == [True] * warns
