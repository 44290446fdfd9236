"""The source against a real OpenBao server: engines, versions, ways to reach it, and its bad days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secretsd.config.sources import VaultSource as Table
from secretsd.model import FetchedSecret, Hold, SecretRef, SecretVersion
from secretsd.refresh.hold import holds_any, supersedes
from secretsd.refresh.sources.vault.source import VaultSource
from tests.lab.openbao import OpenBao
from tests.refresh.sources.vault.conftest import by_token, failures, fetched, payloads, refs, words


@pytest.fixture
def reader(openbao: OpenBao) -> str:
    """A token that may read all secrets of both engines, and nothing else."""
    openbao.allow("reader", "secret/data/*", "kv1/*")
    return openbao.new_token("reader")


def opened(table: Table, **options: object) -> VaultSource:
    return VaultSource(table, **{"identity": None, "witness": None, **options})  # type: ignore[arg-type]


def test_values_come_as_the_json_object_that_was_stored(
    openbao: OpenBao, reader: str, tmp_path: Path
) -> None:
    openbao.put(
        "bot/production", {"KEY": "gr\u00fc\u00dfe <&> \u2028\U0001f511\n", "N": 1.25, "ON": True, "NO": None}
    )
    (payload,) = payloads(opened(by_token(openbao, tmp_path, reader)), "bot/production")
    stored = {"KEY": "gr\u00fc\u00dfe <&> \u2028\U0001f511\n", "N": 1.25, "NO": None, "ON": True}
    assert json.loads(payload) == stored


def test_versions_are_numbers_with_the_date_of_their_making(
    openbao: OpenBao, reader: str, tmp_path: Path
) -> None:
    openbao.put("versions", {"KEY": "fake-1"})
    openbao.put("versions", {"KEY": "fake-2"})
    source = opened(by_token(openbao, tmp_path, reader))
    current, first = fetched(source, "versions", SecretRef("bao", "versions", version="1"))
    assert isinstance(current, FetchedSecret)
    assert isinstance(first, FetchedSecret)
    assert (current.version_id, current.payload) == ("2", b'{"KEY": "fake-2"}')
    assert (first.version_id, first.payload) == ("1", b'{"KEY": "fake-1"}')
    assert first.created_at is not None
    assert current.created_at is not None
    assert 0 <= current.created_at - first.created_at < 60
    assert words(source, SecretRef("bao", "versions", version="7")) == [("refusal", "secret-missing")]


def test_kv_1_has_one_version_and_keeps_the_text_of_its_numbers(
    openbao: OpenBao, reader: str, tmp_path: Path
) -> None:
    openbao.done("POST", "kv1/numbers", b'{"PRICE": 1.10, "ACCOUNT": 12345678901234567890123}')
    source = opened(by_token(openbao, tmp_path, reader, mount="kv1", kv_version=1))
    (found,) = fetched(source, "numbers")
    assert isinstance(found, FetchedSecret)
    assert (found.version_id, found.created_at) == ("unversioned", None)
    assert b"1.10" in found.payload
    assert b"12345678901234567890123" in found.payload


def test_kv_1_does_not_pass_off_what_it_has_now_for_what_was_held_before_a_reboot(
    openbao: OpenBao, reader: str, tmp_path: Path
) -> None:
    openbao.put("held", {"KEY": "fake-2"}, mount="kv1")
    source = opened(by_token(openbao, tmp_path, reader, mount="kv1", kv_version=1))
    held = SecretVersion(SecretRef("bao", "held"), "unversioned", None)
    hold = Hold("rollback", 0.0, "root", "fake", 1, "digest", pinned=(held,))
    (found,) = fetched(source, replace(held.ref, version=held.version_id))
    assert isinstance(found, FetchedSecret)
    assert not holds_any(hold, [SecretVersion(held.ref, found.version_id, found.created_at)])
    assert not supersedes([held], hold), "without a reboot a rollback lasts until secretsctl resume"


def test_a_number_that_kv_2_has_rounded_is_never_published(
    openbao: OpenBao, reader: str, tmp_path: Path
) -> None:
    openbao.put("rounded", {"ACCOUNT": 12345678901234567890123})
    openbao.put("exact", {"ACCOUNT": 123456789012345, "RATE": 0.125})
    source = opened(by_token(openbao, tmp_path, reader))
    assert words(source, "rounded") == [("data", "inexact-number")]
    assert payloads(source, "exact") == [b'{"ACCOUNT": 123456789012345, "RATE": 0.125}']


def test_what_was_deleted_or_destroyed_is_told_from_what_never_was(
    openbao: OpenBao, reader: str, tmp_path: Path
) -> None:
    for name in ("deleted", "destroyed"):
        openbao.put(name, {"KEY": "fake"})
    openbao.done("DELETE", "secret/data/deleted")
    openbao.done("PUT", "secret/destroy/destroyed", {"versions": [1]})
    source = opened(by_token(openbao, tmp_path, reader))
    assert words(source, "deleted", "destroyed", "never") == [
        ("refusal", "secret-deleted"),
        ("refusal", "secret-deleted"),
        ("refusal", "secret-missing"),
    ]


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"mount": "nowhere"}, "wrong-mount"),
        ({"mount": "kv1"}, "wrong-kv-version"),
        ({"kv_version": 1}, "wrong-kv-version"),
        ({"namespace": "nowhere"}, "wrong-namespace"),
    ],
)
def test_a_mistake_of_the_configuration_is_no_refusal_that_could_withdraw_a_bundle(
    openbao: OpenBao, tmp_path: Path, keys: dict[str, object], code: str
) -> None:
    openbao.put("bot", {"KEY": "fake"})
    openbao.put("bot", {"KEY": "fake"}, mount="kv1")
    source = opened(by_token(openbao, tmp_path, openbao.token, **keys))
    (told,) = failures(source, "bot")
    assert (told.failure_class.value, told.code) == ("data", code)


def test_a_path_outside_of_the_policy_is_a_refusal_and_its_neighbour_comes(
    openbao: OpenBao, tmp_path: Path
) -> None:
    openbao.put("mine", {"KEY": "fake"})
    openbao.put("theirs", {"KEY": "fake"})
    openbao.allow("mine", "secret/data/mine")
    source = opened(by_token(openbao, tmp_path, openbao.new_token("mine")))
    mine, theirs = fetched(source, "mine", "theirs")
    assert isinstance(mine, FetchedSecret)
    assert not isinstance(theirs, FetchedSecret)
    assert (theirs.failure.failure_class.value, theirs.failure.code) == ("refusal", "access-denied")
    assert 'path "secret/data/theirs" { capabilities = ["read"] }' in theirs.failure.advice


def test_a_token_that_may_read_nothing_is_about_us_and_one_earlier_grant_makes_it_a_refusal(
    openbao: OpenBao, tmp_path: Path
) -> None:
    openbao.put("mine", {"KEY": "fake"})
    openbao.allow("mine", "secret/data/mine")
    table = by_token(openbao, tmp_path, openbao.new_token("mine"))
    (witness,) = refs("mine")
    assert words(opened(table), "a", "b") == [("identity", "access-denied")] * 2
    assert words(opened(table, witness=witness), "a", "b") == [("refusal", "access-denied")] * 2


def test_a_revoked_an_unknown_and_a_missing_token_are_about_us(
    openbao: OpenBao, reader: str, tmp_path: Path
) -> None:
    openbao.put("bot", {"KEY": "fake"})
    table = by_token(openbao, tmp_path, reader)
    assert payloads(opened(table), "bot")
    openbao.revoke(reader)
    witness = refs("bot")[0]
    assert words(opened(table, witness=witness), "bot", "other") == [("identity", "unknown-credentials")] * 2
    unknown = by_token(openbao, tmp_path, "s.fakefakefakefakefakefake")
    assert words(opened(unknown), "bot") == [("identity", "unknown-credentials")]
    (tmp_path / f"token-{reader[-8:]}").unlink()
    assert words(opened(table), "bot") == [("identity", "no-credentials")]


def test_a_fresh_token_in_the_file_is_taken_by_the_next_fetch(openbao: OpenBao, tmp_path: Path) -> None:
    openbao.put("bot", {"KEY": "fake"})
    openbao.allow("reader", "secret/data/*")
    old, new = openbao.new_token("reader"), openbao.new_token("reader")
    table = by_token(openbao, tmp_path, old)
    openbao.revoke(old)
    (tmp_path / f"token-{old[-8:]}").write_text(new + "\n")
    assert payloads(opened(table), "bot") == [b'{"KEY": "fake"}']


def test_a_token_of_a_systemd_credential(
    openbao: OpenBao, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openbao.put("bot", {"KEY": "fake"})
    login = {"method": "token", "token": "credential:vault-token"}
    table = by_token(openbao, tmp_path, reader, login=login)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert words(opened(table), "bot") == [("identity", "no-credentials")]
    (tmp_path / "vault-token").write_text(reader)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert payloads(opened(table), "bot") == [b'{"KEY": "fake"}']


def test_over_tls_by_a_ca_of_its_own_and_never_without(openbao: OpenBao, reader: str, tmp_path: Path) -> None:
    openbao.put("bot", {"KEY": "fake"})
    address = openbao.tls_address
    trusting = by_token(openbao, tmp_path, reader, address=address, ca_file=openbao.ca_file)
    assert payloads(opened(trusting), "bot") == [b'{"KEY": "fake"}']
    (told,) = failures(opened(by_token(openbao, tmp_path, reader, address=address)), "bot")
    assert (told.failure_class.value, told.code) == ("transient", "tls-failed")
    assert "certificate" in told.message
    for bad in (tmp_path / "none.pem", tmp_path / f"token-{reader[-8:]}"):
        table = by_token(openbao, tmp_path, reader, address=address, ca_file=bad)
        assert words(opened(table), "bot") == [("identity", "bad-ca-file")]


def test_the_environments_certificates_do_not_take_the_place_of_ca_file(
    openbao: OpenBao, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openbao.put("bot", {"KEY": "fake"})
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "1")
    table = by_token(openbao, tmp_path, reader, address=openbao.tls_address, ca_file=openbao.ca_file)
    assert payloads(opened(table), "bot") == [b'{"KEY": "fake"}']
    untrusting = by_token(openbao, tmp_path, reader, address=openbao.tls_address)
    assert words(opened(untrusting), "bot") == [("transient", "tls-failed")]


def test_over_a_unix_socket_whatever_proxies_the_environment_names(
    openbao: OpenBao, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openbao.put("bot", {"KEY": "fake"})
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    table = by_token(openbao, tmp_path, reader, address=openbao.unix_address)
    assert payloads(opened(table), "bot") == [b'{"KEY": "fake"}']
    gone = by_token(openbao, tmp_path, reader, address=f"unix://{tmp_path}/none.sock")
    assert words(opened(gone), "bot") == [("transient", "unreachable")]
    (told,) = failures(opened(by_token(openbao, tmp_path, reader)), "bot")
    assert "proxy" in told.message, "over TCP the environment's proxy is used"


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """For what no other test could bear."""
    with OpenBao(tmp_path_factory.mktemp("own") / "bao") as server:
        yield server


def test_sealed_killed_and_never_initialised_pass_by_themselves(own_server: OpenBao, tmp_path: Path) -> None:
    before = opened(by_token(own_server, tmp_path, "fake-token"))
    assert words(before, "bot", "other") == [("transient", "vault-sealed")] * 2
    assert before.calls == {"kv-read": 1}, "each other secret would meet the same seal"
    own_server.initialise()
    own_server.put("bot", {"KEY": "fake"})
    table = by_token(own_server, tmp_path, own_server.token)

    own_server.seal()
    sealed = opened(table)
    assert words(sealed, "bot") == [("transient", "vault-sealed")]
    assert [(seen.did, seen.code) for seen in sealed.endpoints] == [("fails", "vault-sealed")]
    own_server.unseal()
    assert payloads(opened(table), "bot") == [b'{"KEY": "fake"}']

    own_server.kill()
    dead = opened(table)
    assert words(dead, "bot") == [("transient", "unreachable")]
    assert [(seen.did, seen.code) for seen in dead.endpoints] == [("fails", "unreachable")]
    own_server.start()
    assert words(opened(table), "bot") == [("transient", "vault-sealed")]
    own_server.unseal()
    again = opened(table)
    assert payloads(again, "bot") == [b'{"KEY": "fake"}']
    assert [seen.did for seen in again.endpoints] == ["answers"]
    assert again.view.skew_s is not None
    assert abs(again.view.skew_s) < 5
