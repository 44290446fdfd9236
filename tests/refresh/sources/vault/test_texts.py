"""Each fault that the source can tell of has its two sentences, and none of them speaks of AWS's services."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secretsd.config.sources import VaultSource as Table
from secretsd.model import SecretRef
from secretsd.refresh.sources import faults
from secretsd.refresh.sources.faults import Fault
from secretsd.refresh.sources.vault import errors
from secretsd.refresh.sources.vault.texts import all_denied, failure

FAULTS = [each for each in {**vars(faults), **vars(errors)}.values() if isinstance(each, Fault)]
REF = SecretRef("bao", "bot/production", version="3")
LOGINS = [
    {"method": "token", "token": "file:/etc/secretsd/token"},
    {"method": "token", "token": "credential:vault-token"},
    {"method": "approle", "role_id": "fake-role", "secret_id": "credential:vault-secret-id"},
    {"method": "aws-iam", "role": "trading-host"},
]


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login["method"])
@pytest.mark.parametrize("kv_version", [1, 2])
def test_each_fault_says_what_is_wrong_and_what_to_do(login: dict[str, str], kv_version: int) -> None:
    address = "https://vault.example.com:8200"
    table = Table.model_validate(
        {"type": "vault", "address": address, "login": login, "kv_version": kv_version}
    )
    assert len(FAULTS) > 25
    for fault in FAULTS:
        told = failure(replace(fault, detail="fake-detail"), REF, table)

        assert "bot/production (version 3)" in told.message
        assert told.message.endswith("(fake-detail)")
        assert (told.code, told.failure_class) == (fault.code, fault.failure_class)
        assert "{" not in told.message
        if not (fault is errors.LOGIN_REJECTED and login["method"] == "token"):
            assert told.advice, fault.code
        assert "Secrets Manager" not in told.message + told.advice
        if login["method"] != "aws-iam" and fault is not faults.METADATA_UNREACHABLE:
            assert "AWS" not in told.message + told.advice
    path = "secret/data/bot/production" if kv_version == 2 else "secret/bot/production"
    assert f'path "{path}" {{ capabilities = ["read"] }}' in all_denied(faults.DENIED, REF, table).advice
