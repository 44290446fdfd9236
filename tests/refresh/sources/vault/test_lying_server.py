"""Answers that are cut short, of the wrong kind, not Vault's, too slow or too large: none may count."""

from __future__ import annotations

import json
import logging
import time

import pytest

from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.interface import FetchFailure
from secretsd.refresh.sources.vault import session
from tests.canary.records import everything_logged
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.refresh.sources.conftest import soon
from tests.refresh.sources.scripted_aws import Answer
from tests.refresh.sources.vault.conftest import Open, failures, fetched, payloads, refs, words
from tests.refresh.sources.vault.scripted_vault import (
    Asked,
    ScriptedVault,
    honest,
    refused,
    said,
    secret,
    whole,
)

LENGTHS = pytest.mark.parametrize("length_is_true", [True, False], ids=["true length", "reduced length"])


def cut(answer: Answer, at: int, *, length_is_true: bool) -> Answer:
    declared = len(answer.body) if length_is_true else at
    return Answer(answer.status, answer.body, declared_length=declared, sent=at)


@LENGTHS
@pytest.mark.parametrize("kv_version", [1, 2])
def test_a_value_cut_at_any_byte_is_asked_for_again(
    vault: ScriptedVault, open_source: Open, length_is_true: bool, kv_version: int
) -> None:
    values = {"KEY": "fake-value", "N": 1.5}
    honest_answer = secret(values) if kv_version == 2 else said(200, whole(values))
    length = len(honest_answer.body)
    asked_before: set[str] = set()

    def script(asked: Asked) -> Answer:
        if asked.path in asked_before:
            return honest_answer
        asked_before.add(asked.path)
        at = int(asked.path.rpartition("/")[2])
        return cut(honest_answer, at, length_is_true=length_is_true)

    vault.script = script
    source = open_source({"kv_version": kv_version})
    found = list(source.fetch(refs(*map(str, range(length))), deadline=soon(60.0)))
    assert {each.payload for each in found if isinstance(each, FetchedSecret)} == {
        b'{"KEY": "fake-value", "N": 1.5}'
    }
    assert len(found) == length
    assert len(vault.requests) == 2 * length  # no first answer counted


GOOD_METADATA = {"created_time": "2026-11-24T13:00:33Z", "version": 1}


@pytest.mark.parametrize(
    "answer",
    [
        secret("fake"),
        secret(None),
        secret(["fake"]),
        secret({"KEY": "fake"}, version=None),
        secret({"KEY": "fake"}, version="1"),
        secret({"KEY": "fake"}, version=1.5),
        secret({"KEY": "fake"}, version=-1),
        secret({"KEY": "fake"}, version=10**18),
        said(200, whole({"data": {"KEY": "fake"}})),
        said(200, whole({"data": {"KEY": "fake"}, "metadata": []})),
        said(200, whole({"KEY": "fake"})),
        said(200, whole(None)),
        said(200, {"data": {}}),
        said(200, []),
        said(204, {}),
        said(202, whole({"data": {"KEY": "fake"}, "metadata": GOOD_METADATA})),
        Answer(200, b""),
        Answer(200, b"<html>welcome to the hotel</html>"),
        Answer(200, b'{"data": {"data": {"K": "a", "K": "b"}, "metadata": {"version": 1}}}'),
        Answer(200, b'{"data": {"data": {"K": NaN}, "metadata": {"version": 1}}}'),
        Answer(200, b"[" * 100_000),
        Answer(200, secret({"KEY": "fake"}).body, {"Content-Encoding": "gzip"}, declared_length=7, sent=7),
        Answer(404, b"<html>not found</html>"),
        Answer(403, b"<html>forbidden</html>"),
        Answer(400, b'{"message": "bad request"}'),
        Answer(404, b'{"errors": "none"}'),
        Answer(403, b'{"errors": [{"code": 7}]}'),
        Answer(302, b"", {"Location": "http://127.0.0.1:9/login"}),
        Answer(407, b"proxy says no"),
    ],
)
def test_what_is_not_a_whole_answer_of_vault_is_neither_a_secret_nor_a_refusal(
    vault: ScriptedVault, open_source: Open, answer: Answer
) -> None:
    vault.answer_in_turn(answer)
    witness = SecretRef("bao", "w")
    source = open_source(witness=witness)
    assert words(source, "a", "b") == [("transient", "incomplete-answer")] * 2
    assert [(seen.did, seen.code) for seen in source.endpoints] == [("fails", "incomplete-answer")]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refused(500, "internal error"), "server-error"),
        (refused(502), "server-error"),
        (Answer(502, b"<html>bad gateway</html>"), "server-error"),
        (Answer(503, b"<html>unavailable</html>"), "server-error"),
        (refused(503, "Vault is sealed"), "vault-sealed"),
        (refused(503, "upstream is busy"), "server-error"),
        (refused(501, "not initialised"), "vault-uninitialised"),
        (refused(429, "request path: rate limit quota exceeded"), "throttled"),
        (Answer(429, b""), "throttled"),
        (Answer(473, b""), "vault-standby"),
        (refused(472), "vault-standby"),
        (refused(412, "required index state not present"), "vault-standby"),
        (refused(500, "local node not active but active cluster node not found"), "vault-standby"),
        (Answer(307, b"", {"Location": "http://127.0.0.1:9/v1/secret/data/a"}), "vault-standby"),
        (Answer(200, b"x", reset=True), "unreachable"),
        (Answer(200, b"x", delay_s=2.0), "unreachable"),
    ],
)
def test_what_will_pass_is_named(vault: ScriptedVault, open_source: Open, answer: Answer, told: str) -> None:
    vault.answer_in_turn(answer)
    source = open_source(witness=SecretRef("bao", "w"))
    assert words(source, "a") == [("transient", told)]
    assert [(seen.did, seen.code) for seen in source.endpoints] == [("fails", told)]


@pytest.mark.parametrize(
    ("answer", "failure_class", "code"),
    [
        (refused(400, "something new"), "transient", "unexpected-error"),
        (refused(404, "something new"), "transient", "unexpected-error"),
        (refused(400, "missing client token"), "identity", "unknown-credentials"),
        (refused(405, "1 error occurred:\n\t* unsupported operation\n\n"), "data", "wrong-mount"),
        (secret({}), "data", "secret-empty"),
        (secret({"KEY": "x" * 65_536}), "data", "too-large"),
        (secret({"KEY": "half \ud800"}), "data", "not-utf8"),
        (secret({"KEY": {"deep": [1e400]}}), "transient", "incomplete-answer"),
    ],
)
def test_what_an_answer_means(
    vault: ScriptedVault, open_source: Open, answer: Answer, failure_class: str, code: str
) -> None:
    vault.answer_in_turn(answer)
    assert words(open_source(), "a") == [(failure_class, code)]


def test_another_version_than_the_one_asked_for_is_not_taken(vault: ScriptedVault, open_source: Open) -> None:
    vault.answer_in_turn(secret({"KEY": "fake"}, version=4))
    assert words(open_source(), SecretRef("bao", "a", version="3")) == [("transient", "incomplete-answer")]
    assert vault.paths()[0] == "secret/data/a?version=3"


def test_numbers_keep_their_text(vault: ScriptedVault, open_source: Open) -> None:
    body = b'{"data": {"data": {"A": 1.10, "B": -0.000001, "C": 1e3}, "metadata": {"version": 2}}}'
    vault.answer_in_turn(Answer(200, body))
    assert payloads(open_source(), "a") == [b'{"A": 1.10, "B": -0.000001, "C": 1e3}']


def test_a_redirect_takes_our_token_nowhere(vault: ScriptedVault, open_source: Open) -> None:
    elsewhere = f"{vault.url}/v1/elsewhere"
    for status in (301, 302, 303, 307, 308):
        vault.requests.clear()
        vault.answer_in_turn(Answer(status, b"", {"Location": elsewhere}))
        assert failures(open_source(), "a")
        assert "elsewhere" not in vault.paths()


def test_a_netrc_file_adds_nothing(
    vault: ScriptedVault, open_source: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w", encoding="ascii") as file:
        file.write("default login fake password fake\n")
    monkeypatch.setenv("NETRC", netrc)
    monkeypatch.setenv("VAULT_TOKEN", "fake-token-of-the-environment")
    assert payloads(open_source(), "a")
    assert "Authorization" not in vault.requests[0].headers
    assert vault.requests[0].headers["X-Vault-Token"] == "fake-token-of-a-file"


def test_an_answer_that_has_no_end_is_not_read_to_it(vault: ScriptedVault, open_source: Open) -> None:
    vault.answer_in_turn(Answer(200, b'{"data": "' + b"x" * (64 << 20)))
    source = open_source()
    began = time.monotonic()
    (told,) = failures(source, "a")
    assert (told.failure_class.value, told.code) == ("transient", "incomplete-answer")
    assert "1048576 bytes" in told.message
    assert source.calls == {"kv-read": 1}
    assert time.monotonic() - began < 3


def test_one_that_hangs_does_not_use_up_the_time_of_the_others(
    vault: ScriptedVault, open_source: Open
) -> None:
    def script(asked: Asked) -> Answer:
        return Answer(200, b"", delay_s=3.0) if asked.path.endswith("/slow") else honest(asked)

    vault.script = script
    found = fetched(open_source(), "slow", "a", "b")
    assert [each.ref.id for each in found if isinstance(each, FetchedSecret)] == ["a", "b"]


def test_nothing_is_begun_after_the_deadline(vault: ScriptedVault, open_source: Open) -> None:
    source = open_source()
    found = list(source.fetch(refs("a", "b"), deadline=soon(0.0)))
    assert [each.failure.code for each in found if isinstance(each, FetchFailure)] == ["unreachable"] * 2
    assert vault.requests == []
    assert source.endpoints == (), "a server that was not asked has not failed"


LYING = [
    Answer(200, MARKER.encode()),
    Answer(200, secret({"KEY": MARKER}).body[:-1]),
    Answer(403, json.dumps({"errors": [MARKER]}).encode()),
    Answer(400, json.dumps({"errors": [MARKER]}).encode()),
    Answer(404, json.dumps({"errors": [MARKER]}).encode()),
    Answer(500, json.dumps({"errors": [MARKER]}).encode()),
    Answer(500, MARKER.encode()),
    Answer(200, json.dumps({"data": {"data": MARKER, "metadata": {"version": MARKER}}}).encode()),
    secret({"KEY": MARKER * 9000}),
    secret({"KEY": MARKER + "\ud800"}),
    secret({"KEY": MARKER}, version=MARKER),
    secret({"KEY": 12345678901234567890, "M": MARKER}),
    Answer(200, MARKER.encode(), reset=True),
]


@pytest.mark.parametrize("answer", LYING, ids=map(str, range(len(LYING))))
def test_no_failure_log_or_repr_holds_what_the_server_said(
    vault: ScriptedVault, open_source: Open, answer: Answer, capfd: pytest.CaptureFixture[str]
) -> None:
    vault.answer_in_turn(answer)
    with everything_logged() as log:
        source = open_source({"login": {"method": "token", "token": "file:/proc/self/no-such"}})
        told = failures(source, "a")
        source = open_source()
        told += failures(source, "a", "b")
    shown = repr(told) + repr(source) + repr(vars(source)) + log.getvalue() + "".join(capfd.readouterr())
    assert not shows(shown)
    assert "fake-token-of-a-file" not in shown


@pytest.mark.plants
def test_the_log_capture_would_find_what_urllib3_writes(
    vault: ScriptedVault, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logged() -> str:
        with everything_logged() as log:
            assert shows(payloads(open_source(), MARKER)[0])
        return log.getvalue()

    assert not shows(logged())
    with monkeypatch.context() as patch:
        patch.setattr(session, "silence_loggers", lambda: None)
        for name in ("urllib3", "urllib3.connectionpool"):
            patch.setattr(logging.getLogger(name), "disabled", False)
            patch.setattr(logging.getLogger(name), "propagate", True)
            patch.setattr(logging.getLogger(name), "level", logging.DEBUG)
        assert shows(logged()), "urllib3 names each path"
