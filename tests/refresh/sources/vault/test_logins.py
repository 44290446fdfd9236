"""Logging in, renewing, logging in again: a real OpenBao server, and one that says what we want."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secretsd.config.sources import VaultSource as Table
from secretsd.model import SecretRef, VaultToken
from secretsd.refresh.sources.clocks import Clocks
from secretsd.refresh.sources.interface import FetchFailure
from secretsd.refresh.sources.vault.calls import Timeouts
from secretsd.refresh.sources.vault.source import VaultSource
from tests.lab.openbao import OpenBao
from tests.refresh.sources.conftest import soon
from tests.refresh.sources.scripted_aws import Answer
from tests.refresh.sources.vault.conftest import TOKEN, Open, failures, payloads, refs, words, written
from tests.refresh.sources.vault.scripted_vault import (
    DENIED,
    Asked,
    ScriptedVault,
    honest,
    refused,
    secret,
    token,
)

GOOD = b'{"KEY": "fake"}'


@pytest.fixture
def table(openbao: OpenBao, tmp_path: Path) -> Table:
    """Logs in by AppRole, as a role that may read `bot`."""
    return by_role(openbao, tmp_path)


def by_role(openbao: OpenBao, directory: Path, **role: object) -> Table:
    openbao.put("bot", {"KEY": "fake"})
    openbao.put("other", {"KEY": "fake"})
    openbao.allow("bot", "secret/data/bot")
    role_id, secret_id = openbao.new_role(directory.name, "bot", **role)
    login = {
        "method": "approle",
        "role_id": role_id,
        "secret_id": written(directory / "secret-id", secret_id + "\n"),
    }
    return Table.model_validate({"type": "vault", "address": openbao.address, "login": login})


def opened(
    table: Table, kept: VaultToken | None = None, *, renew: bool = False, witness: SecretRef | None = None
) -> VaultSource:
    return VaultSource(table, identity=kept, witness=witness, renew_identity=renew)


def test_a_login_gives_a_token_that_later_fetches_use(table: Table) -> None:
    first = opened(table, renew=True)
    assert payloads(first, "bot") == [GOOD]
    assert first.calls == {"login": 1, "kv-read": 1}
    kept = first.identity
    assert kept is not None
    assert (kept.method, kept.is_renewable) == ("approle", True)
    assert 1190 < kept.expires_at - time.time() < 1210
    assert (first.view.method, first.view.expires_at) == ("approle", kept.expires_at)
    second = opened(table, kept)
    assert payloads(second, "bot") == [GOOD]
    assert (second.calls, second.identity) == ({"kv-read": 1}, kept)


def test_a_token_is_renewed_before_it_ends(table: Table) -> None:
    first = opened(table)
    payloads(first, "bot")
    assert first.identity is not None
    half_gone = replace(first.identity, expires_at=first.identity.expires_at - 600)
    renewing = opened(table, half_gone, renew=True)
    assert payloads(renewing, "bot") == [GOOD]
    assert renewing.calls == {"renew-self": 1, "kv-read": 1}
    assert renewing.identity is not None
    assert renewing.identity.token == half_gone.token
    assert renewing.identity.expires_at > half_gone.expires_at + 500


def test_a_token_at_the_end_of_its_longest_life_is_followed_by_another(
    openbao: OpenBao, tmp_path: Path
) -> None:
    table = by_role(openbao, tmp_path, token_ttl="30s", token_max_ttl="30s")
    first = opened(table)
    payloads(first, "bot")
    assert first.identity is not None
    renewing = opened(table, first.identity, renew=True)
    assert payloads(renewing, "bot") == [GOOD]
    assert renewing.calls == {"renew-self": 1, "login": 1, "kv-read": 1}
    assert renewing.identity is not None
    assert renewing.identity.token != first.identity.token


def test_a_token_that_cannot_be_renewed_is_followed_by_another(openbao: OpenBao, tmp_path: Path) -> None:
    table = by_role(openbao, tmp_path, token_type="batch")
    first = opened(table)
    assert payloads(first, "bot") == [GOOD]
    assert first.identity is not None
    assert not first.identity.is_renewable
    renewing = opened(table, first.identity, renew=True)
    assert payloads(renewing, "bot") == [GOOD]
    assert renewing.calls == {"login": 1, "kv-read": 1}


def test_after_its_end_a_token_is_not_tried(table: Table) -> None:
    ended = VaultToken("s.fakefakefakefake", time.time() - 1, "approle", 0.0, is_renewable=True)
    source = opened(table, ended, renew=True)
    assert payloads(source, "bot") == [GOOD]
    assert source.calls == {"login": 1, "kv-read": 1}


@pytest.mark.parametrize("renew", [False, True])
def test_a_revoked_token_is_replaced_within_the_same_fetch(
    openbao: OpenBao, table: Table, renew: bool
) -> None:
    first = opened(table)
    payloads(first, "bot")
    assert first.identity is not None
    openbao.revoke(first.identity.token)
    second = opened(table, first.identity, renew=renew)
    assert payloads(second, "bot") == [GOOD]
    assert second.identity is not None
    assert second.identity.token != first.identity.token
    assert second.calls["login"] == 1


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_a_token_that_is_used_up_in_the_middle_of_a_fetch_refuses_nothing(
    openbao: OpenBao, tmp_path: Path, uses: int
) -> None:
    for number in range(5):
        openbao.put(f"many/{number}", {"KEY": "fake"})
    openbao.allow("many", "secret/data/many/*")
    role_id, secret_id = openbao.new_role(tmp_path.name, "many", token_num_uses=uses)
    login = {"method": "approle", "role_id": role_id, "secret_id": written(tmp_path / "id", secret_id)}
    source = opened(Table.model_validate({"type": "vault", "address": openbao.address, "login": login}))
    assert payloads(source, *(f"many/{number}" for number in range(5))) == [GOOD] * 5
    assert 2 <= source.calls["login"] <= 5


def test_a_token_that_may_not_look_itself_up_is_doubted_once_for_each_denial_and_no_more(
    vault: ScriptedVault, open_source: Open, tmp_path: Path
) -> None:
    """As with token_no_default_policy: what the first request of a new token is denied, it is denied."""

    def script(asked: Asked) -> Answer:
        is_good = asked.path.startswith("auth/approle") or asked.path.endswith("/a")
        return honest(asked) if is_good else DENIED

    vault.script = script
    outcomes = open_source(approle(vault, tmp_path)).fetch(refs("a", "b", "c"), deadline=soon())
    told = {each.ref.id: each.failure for each in outcomes if isinstance(each, FetchFailure)}
    assert {name: each.failure_class.value for name, each in told.items()} == {"b": "refusal", "c": "refusal"}
    assert vault.paths().count("auth/approle/login") == 3


def test_a_fresh_login_that_is_denied_one_path_is_refused_that_path(table: Table) -> None:
    source = opened(table, witness=refs("bot")[0])
    assert words(source, "other") == [("refusal", "access-denied")]
    assert "lookup-self" not in source.calls, "nobody doubts what the server has just given"


def test_a_rejected_login_is_about_us_and_never_withdraws_a_bundle(table: Table, tmp_path: Path) -> None:
    (tmp_path / "secret-id").write_text("11111111-2222-3333-4444-555555555555")
    source = opened(table, witness=refs("bot")[0])
    told = failures(source, "bot", "other")
    assert [(each.failure_class.value, each.code) for each in told] == [("identity", "login-rejected")] * 2
    assert "11111111" not in repr(told)
    assert source.calls == {"login": 1}
    assert [seen.did for seen in source.endpoints] == ["answers"]
    login = table.login.model_copy(update={"mount": "nowhere"})
    assert words(opened(table.model_copy(update={"login": login})), "bot") == [("identity", "login-rejected")]
    (tmp_path / "secret-id").unlink()
    assert words(opened(table), "bot") == [("identity", "no-credentials")]


def test_a_rejected_login_leaves_a_token_in_use_that_is_still_good(table: Table, tmp_path: Path) -> None:
    first = opened(table)
    payloads(first, "bot")
    (tmp_path / "secret-id").write_text("11111111-2222-3333-4444-555555555555")
    assert first.identity is not None
    kept = replace(first.identity, is_renewable=False)
    second = opened(table, kept, renew=True)
    assert payloads(second, "bot") == [GOOD]
    assert second.identity == kept


# --- against a server that says what we want ------------------------------------------------------------


def approle(vault: ScriptedVault, directory: Path) -> dict[str, Any]:
    place = written(directory / "secret-id", "fake-secret-id")
    return {"login": {"method": "approle", "role_id": "fake-role", "secret_id": place}}


def test_a_server_that_is_away_at_renewal_leaves_the_token_in_use(
    vault: ScriptedVault, open_source: Open, tmp_path: Path
) -> None:
    kept = VaultToken("fake-kept", time.time() + 600, "approle", time.time() - 3000, is_renewable=True)

    def script(asked: Asked) -> Answer:
        return refused(500, "internal error") if asked.path.startswith("auth/") else honest(asked)

    vault.script = script
    source = open_source(approle(vault, tmp_path), identity=kept, renew_identity=True)
    assert payloads(source, "bot")
    assert source.identity == kept
    assert vault.paths() == ["auth/token/renew-self", "secret/data/bot"]


def test_a_cautious_fetch_begins_with_one_request_and_gives_up_with_it(
    vault: ScriptedVault, open_source: Open, tmp_path: Path
) -> None:
    vault.answer_in_turn(refused(500, "internal error"))
    kept = VaultToken("fake-kept", time.time() + 600, "approle", 0.0, is_renewable=True)
    login = approle(vault, tmp_path)
    for options in ({"identity": kept, "renew_identity": True}, {"identity": None, "renew_identity": True}):
        vault.requests.clear()
        source = open_source(login, cautious=True, **options)
        assert words(source, "a", "b", "c") == [("transient", "server-error")] * 3
        assert len(vault.requests) == 1
    vault.script = honest
    vault.requests.clear()
    assert payloads(open_source(login, cautious=True), "a", "b", "c")
    assert len(vault.requests) == 4


def test_a_lookup_that_fails_makes_a_denial_neither_refusal_nor_identity(
    vault: ScriptedVault, open_source: Open
) -> None:
    vault.script = lambda asked: DENIED if "data" in asked.path else refused(500, "internal error")
    witness = SecretRef("bao", "w")
    assert words(open_source(witness=witness), "a", "b") == [("transient", "server-error")] * 2


def test_a_token_that_ends_in_the_middle_of_a_fetch_refuses_nothing(
    vault: ScriptedVault, open_source: Open
) -> None:
    reads = 0

    def script(asked: Asked) -> Answer:
        nonlocal reads
        if "data" not in asked.path:
            return DENIED
        reads += 1
        return secret({"KEY": "fake"}) if reads == 1 else DENIED

    vault.script = script
    source = open_source()
    found = {each.ref.id: each for each in source.fetch(refs("a", "b", "c"), deadline=time.monotonic() + 5)}
    told = [getattr(found[name], "failure", None) for name in "abc"]
    assert told[0] is None
    assert [(each.failure_class.value, each.code) for each in told[1:] if each] == [
        ("identity", "unknown-credentials")
    ] * 2


def test_a_later_denial_is_not_believed_before_the_token_was_looked_up_again(
    vault: ScriptedVault, open_source: Open
) -> None:
    lookups = 0

    def script(asked: Asked) -> Answer:
        nonlocal lookups
        if "data" in asked.path:
            return secret({"KEY": "fake"}) if asked.path.endswith("/good") else DENIED
        lookups += 1
        return honest(asked) if lookups == 1 else DENIED

    vault.script = script
    source = open_source()
    outcomes = source.fetch(refs("first", "good", "later"), deadline=time.monotonic() + 5)
    told = {each.ref.id: getattr(each, "failure", None) for each in outcomes}
    assert told["good"] is None
    assert {name: each.failure_class.value for name, each in told.items() if each} == {
        "first": "identity",
        "later": "identity",
    }


@pytest.mark.parametrize(
    "answer",
    [
        token("", 60),
        token("fake", "60"),
        token("fake", None),
        token("fake\ud800", 60),
        token("fake\r\nX-Vault-Namespace: other", 60),
        token("f" * 20_000, 60),
        Answer(200, b'{"auth": null}'),
        Answer(200, b"<html>"),
        Answer(204, b""),
    ],
)
def test_a_login_that_does_not_give_a_whole_token_is_none(
    vault: ScriptedVault, open_source: Open, tmp_path: Path, answer: Answer
) -> None:
    vault.answer_in_turn(answer)
    source = open_source(approle(vault, tmp_path))
    assert words(source, "bot") == [("transient", "incomplete-answer")]
    assert set(vault.paths()) == {"auth/approle/login"}


# --- the role of the instance ---------------------------------------------------------------------------

AWS = {"method": "aws-iam", "role": "trading-host", "region": "eu-west-1", "server_id": "vault.example.com"}


def unpacked(asked: Asked) -> tuple[str, str, dict[str, list[str]]]:
    """URL, body and headers of the request that the login carries."""
    parts = [
        base64.b64decode(asked.body[f"iam_request_{each}"]).decode() for each in ("url", "body", "headers")
    ]
    return parts[0], parts[1], json.loads(parts[2])


def test_the_role_of_the_instance_logs_in_by_a_signed_question_to_sts(
    vault: ScriptedVault, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "fake-session-token")
    source = open_source({"login": AWS})
    assert payloads(source, "bot")
    assert source.identity is not None
    assert (source.identity.token, source.identity.method) == ("fake-token-of-a-login", "aws-iam")
    login, read = vault.requests
    assert (login.path, login.body["role"]) == ("auth/aws/login", "trading-host")
    assert "X-Vault-Token" not in login.headers
    assert read.headers["X-Vault-Token"] == "fake-token-of-a-login"
    url, body, headers = unpacked(login)
    assert url == "https://sts.eu-west-1.amazonaws.com/"
    assert body == "Action=GetCallerIdentity&Version=2011-06-15"
    assert headers["Host"] == ["sts.eu-west-1.amazonaws.com"]
    assert headers["X-Amz-Security-Token"] == ["fake-session-token"]
    assert headers["X-Vault-AWS-IAM-Server-ID"] == ["vault.example.com"]
    (signature,) = headers["Authorization"]
    assert "/eu-west-1/sts/aws4_request" in signature
    assert "x-vault-aws-iam-server-id" in signature, "the server asks for it to be signed"
    assert "fake-secret-key" not in json.dumps(login.body)


def test_the_signature_is_one_that_sts_would_accept(
    vault: ScriptedVault, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-key")
    for region in ("us-east-1", "eu-west-1"):
        vault.requests.clear()
        assert payloads(open_source({"login": {**AWS, "region": region}}), "bot")
        _, body, headers = unpacked(vault.requests[0])
        (given,) = headers["Authorization"]
        assert given.rpartition("Signature=")[2] == _signature(headers, body, region, "fake-secret-key")


def _signature(headers: dict[str, list[str]], body: str, region: str, key: str) -> str:
    """Signature version 4 of a POST of /, by the steps of AWS's documentation."""
    signed = re.findall("SignedHeaders=([^,]*)", headers["Authorization"][0])[0]
    values = {name.lower(): value for name, (value,) in headers.items()}
    lines = "".join(f"{name}:{values[name].strip()}\n" for name in signed.split(";"))
    request = f"POST\n/\n\n{lines}\n{signed}\n{hashlib.sha256(body.encode()).hexdigest()}"
    stamp = values["x-amz-date"]
    scope = f"{stamp[:8]}/{region}/sts/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    secret = f"AWS4{key}".encode()
    for part in (*scope.split("/"), text):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return secret.hex()


def test_without_credentials_of_aws_nothing_is_asked(vault: ScriptedVault, open_source: Open) -> None:
    source = open_source({"login": AWS})
    assert words(source, "bot") == [("identity", "no-credentials")]
    assert vault.requests == []
    assert source.endpoints == ()


def test_the_clock_of_the_fetch_signs(
    vault: ScriptedVault, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-key")
    clocks = Clocks(time.monotonic, time.time, lambda _: None)
    assert payloads(open_source({"login": AWS}, clocks=clocks), "bot")
    (stamp,) = unpacked(vault.requests[0])[2]["X-Amz-Date"]
    signed_at = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
    assert abs(signed_at - time.time()) < 5


def test_a_token_in_a_file_is_sent_as_it_stands(vault: ScriptedVault, open_source: Open) -> None:
    assert payloads(open_source({"namespace": "trading"}), "bot")
    (asked,) = vault.requests
    assert asked.headers["X-Vault-Token"] == TOKEN
    assert asked.headers["X-Vault-Namespace"] == "trading"
    assert asked.headers["X-Vault-Request"] == "true"


@pytest.mark.parametrize("text", ["", "\n", "two words\nfake", "fake\x00", "gr\u00fc\u00dfe", "f" * 20_000])
def test_what_cannot_be_a_token_is_not_sent(
    vault: ScriptedVault, open_source: Open, tmp_path: Path, text: str
) -> None:
    source = open_source()
    (tmp_path / "token").write_text(text)
    (told,) = failures(source, "bot")
    assert (told.failure_class.value, told.code) == ("identity", "no-credentials")
    assert vault.requests == []


def test_a_server_that_hangs_over_a_renewal_leaves_time_to_read(
    vault: ScriptedVault, open_source: Open, tmp_path: Path
) -> None:
    def script(asked: Asked) -> Answer:
        return Answer(200, b"", delay_s=6.0) if asked.path.startswith("auth/") else honest(asked)

    vault.script = script
    kept = VaultToken("fake-kept", time.time() + 600, "approle", time.time() - 3000, is_renewable=True)
    options = {"identity": kept, "renew_identity": True, "timeouts": Timeouts()}
    began = time.monotonic()
    assert payloads(open_source(approle(vault, tmp_path), **options), "bot")
    assert time.monotonic() - began < 3.0


def test_a_login_is_not_begun_after_the_deadline(
    vault: ScriptedVault, open_source: Open, tmp_path: Path
) -> None:
    found = list(open_source(approle(vault, tmp_path)).fetch(refs("a"), deadline=time.monotonic()))
    assert [each.failure.code for each in found if isinstance(each, FetchFailure)] == ["unreachable"]
    assert vault.requests == []
