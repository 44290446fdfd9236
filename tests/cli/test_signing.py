"""The commands that ask secretsd-signer, as an operator sees them: against a signer that says anything."""

from __future__ import annotations

import copy
import json
import os
import pwd
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.errors import ExitCode
from secretsd.signing.errors import KINDS, SigningError
from tests.cli import documents
from tests.cli.asking import command, environment, on_terminal
from tests.cli.fake_signer import FakeSigner, canned

ID = "0123456789abcdef0123456789abcdef"
MARKER = "marker-2c77-never-in-a-message"


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[FakeSigner]:
    with FakeSigner(tmp_path / "signer.sock") as fake:
        yield fake


def ctl(path: Path, *arguments: str, given: bytes = b"", **more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, with `given` on a pipe as standard input."""
    done = subprocess.run(
        command(None, *arguments), input=given, capture_output=True, check=False, timeout=20,
        env=environment(SECRETSD_SIGNER_SOCKET=str(path), **more),
    )  # fmt: skip
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode()


# What is sent, and what is printed ------------------------------------------------------------------------


def test_a_signature_is_asked_for_as_it_was_ordered(signer: FakeSigner) -> None:
    order = (
        "--digest",
        "--hash",
        "sha2-384",
        "--marshaling",
        "jws",
        "--padding",
        "pkcs1v15",
        "--key-version",
        "1",
    )
    assert ctl(signer.path, "sign", "hot", *order, given=b"\0\1")[:2] == (0, "AQI=\n")
    assert signer.asked[-1] == (
        "POST",
        "/v1/transit/sign/hot",
        {
            "input": "AAE=",
            "prehashed": True,
            "hash_algorithm": "sha2-384",
            "marshaling_algorithm": "jws",
            "signature_algorithm": "pkcs1v15",
            "key_version": 1,
        },
    )


def test_a_signature_comes_as_text_as_bytes_or_in_a_file(signer: FakeSigner, tmp_path: Path) -> None:
    message, out = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"hello")
    assert ctl(signer.path, "sign", "hot", "--in", str(message))[1] == "AQI=\n"
    assert ctl(signer.path, "sign", "hot", "--in", str(message), "--raw")[1] == "\1\2"
    assert ctl(signer.path, "sign", "hot", "--in", str(message), "-o", str(out))[:2] == (0, "")
    assert out.read_bytes() == b"\1\2"
    code, written, _ = ctl(signer.path, "sign", "hot", "--in", str(message), "--json")
    assert (code, json.loads(written)) == (0, documents.SIGNED)
    assert (
        json.loads(ctl(signer.path, "sign", "orders", "--in", str(message), "--json")[1]) == documents.HMACED
    )
    assert signer.asked[-1][1] == "/v1/transit/hmac/orders"


def test_a_device_or_a_pipe_is_written_to_and_never_replaced_by_a_file(
    signer: FakeSigner, tmp_path: Path
) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "stdout"
    os.mkfifo(pipe)
    link.symlink_to("/proc/self/fd/1")
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert ctl(signer.path, "sign", "hot", "-o", str(pipe), given=b"x")[0] == 0
        assert os.read(reader, 100) == b"\1\2"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert ctl(signer.path, "sign", "hot", "-o", str(link), given=b"x")[:2] == (0, "\1\2")
    assert link.is_symlink()


def test_a_signature_that_is_not_good_is_65_and_a_sentence(signer: FakeSigner) -> None:
    seen: list[Any] = []

    def verify(good: int) -> Any:
        def answer(asked: tuple[str, str, Any]) -> Any:
            if "/verify/" not in asked[1]:
                return canned(asked)
            seen.append(asked[2].get("signature") or asked[2].get("hmac"))
            return {"valid": seen[-1].startswith(f"vault:v{good}:")}

        return answer

    signer.answer = verify(good=1)
    given = ("verify", "hot", "--signature", "AQI=")
    assert ctl(signer.path, *given)[:2] == (0, "good: the signature is by version 1 of hot\n")
    assert seen == ["vault:v2:AQI=", "vault:v1:AQI="], "the newest first"
    assert json.loads(ctl(signer.path, *given, "--json")[1]) == documents.VERIFIED
    code, written, said = ctl(signer.path, *given, "--key-version", "2")
    assert (code, written) == (65, "")
    assert said == "not good: the signature is not by version 2 of hot over this message\n"
    signer.answer = verify(good=9)
    code, written, _ = ctl(signer.path, *given, "--json")
    assert (code, json.loads(written)) == (65, documents.NOT_GOOD)


def test_a_signature_with_its_prefix_or_of_base64url_is_understood(signer: FakeSigner) -> None:
    signer.answer = lambda asked: {"valid": True} if "/verify/" in asked[1] else canned(asked)
    for form in ("-_8=", "-_8", "+/8=", "vault:v2:+/8="):
        assert ctl(signer.path, "verify", "orders", f"--signature={form}")[0] == 0
        assert signer.asked[-1][2]["hmac"] == "vault:v1:+/8="
    assert ctl(signer.path, "verify", "hot", "--marshaling", "jws", "--signature=-_8")[0] == 0
    assert signer.asked[-1][2]["signature"] == "vault:v2:-_8"


def test_a_public_key_is_pem_or_der(signer: FakeSigner) -> None:
    assert ctl(signer.path, "public-key", "hot")[:2] == (0, documents.PEM)
    assert ctl(signer.path, "keys", "public-key", "hot", "--der")[:2] == (0, "not a real key")
    assert json.loads(ctl(signer.path, "public-key", "hot", "--json")[1]) == documents.PUBLIC_KEY
    code, written, said = ctl(signer.path, "public-key", "orders")
    assert (code, written) == (64, "")
    assert "secret key" in said
    assert ctl(signer.path, "public-key", "hot", "--key-version", "3")[0] == 64


def test_the_list_shows_what_is_wrong_first_and_why(signer: FakeSigner) -> None:
    code, written, _ = ctl(signer.path, "keys")
    assert code == 0
    assert written == ctl(signer.path, "keys", "list")[1]
    lines = written.splitlines()
    assert lines[1].split()[:2] == ["cold", "key-missing"]
    assert lines[2].split()[:5] == ["hot", "ready", "1", "retired,", "2"]
    assert lines[-1] == "cold: no cold: secretsctl keys generate cold"
    assert json.loads(ctl(signer.path, "keys", "list", "--json")[1]) == documents.KEYS
    assert json.loads(ctl(signer.path, "keys", "--json")[1]) == documents.KEYS


@pytest.mark.parametrize("columns", [64, 80, 120])
def test_the_screens_fit_a_terminal(signer: FakeSigner, columns: int) -> None:
    where = {"SECRETSD_SIGNER_SOCKET": str(signer.path)}
    for words in (["keys"], ["approve"]):
        code, written = on_terminal(None, *words, columns=columns, **where)
        assert code == 0
        assert "\x1b[" in written or words == ["approve"]
        plain = on_terminal(None, *words, columns=columns, NO_COLOR="1", **where)[1]
        assert "\x1b[" not in plain
        ids = [line for line in plain.splitlines() if ID in line or "SHA-256" in line]  # never broken
        assert [line for line in plain.splitlines() if len(line) > columns and line not in ids] == []


def test_a_name_that_a_terminal_would_obey_is_shown_as_escapes(signer: FakeSigner) -> None:
    evil = documents.key("evil\x1b[2J", "hmac", "hmac")
    signer.answer = lambda _: {"keys": [evil]}
    assert "\x1b" not in ctl(signer.path, "keys")[1]


# Changes --------------------------------------------------------------------------------------------------


def test_a_key_that_is_made_is_told_with_its_public_key(signer: FakeSigner) -> None:
    code, written, _ = ctl(signer.path, "keys", "generate", "cold")
    assert (code, written) == (0, f"generated: version 1 of cold\n{documents.PEM}")
    assert json.loads(ctl(signer.path, "keys", "generate", "cold", "--json")[1]) == documents.MADE


def test_a_key_in_a_file_that_others_can_read_is_warned_of(signer: FakeSigner, tmp_path: Path) -> None:
    material = tmp_path / "orders.key"
    material.write_text("00ff\n")
    material.chmod(0o600)
    given = ("keys", "import", "orders", "--in", str(material), "--format", "hex")
    assert ctl(signer.path, *given) == (0, "imported: version 2 of orders\n", "")
    assert signer.asked[-1] == ("POST", "/v1/secretsd/keys/orders/import", {"material": "AP8="})
    material.chmod(0o640)
    code, _, said = ctl(signer.path, *given)
    assert code == 0
    assert "can be read by other users" in said


def test_no_message_shows_what_the_file_of_a_key_holds(signer: FakeSigner) -> None:
    for key, form in (("cold", "pem"), ("cold", "der"), ("orders", "hex"), ("orders", "base64")):
        code, written, said = ctl(
            signer.path, "keys", "import", key, "--format", form, given=f"{MARKER}!".encode()
        )
        assert (code, written) == (65, "")
        assert MARKER not in said
    assert ctl(signer.path, "keys", "import", "orders", given=b"x")[0] == 65
    assert ctl(signer.path, "keys", "import", "nope", given=b"x")[0] == 64
    assert all(method == "GET" for method, _, _ in signer.asked), "nothing was sent"


def test_a_version_is_retired_only_once_somebody_said_yes(signer: FakeSigner) -> None:
    given = ("keys", "retire", "hot", "1")
    assert ctl(signer.path, *given)[0] == 64
    assert signer.asked == []
    where = {"SECRETSD_SIGNER_SOCKET": str(signer.path)}

    def says(word: bytes) -> tuple[int, str]:
        return on_terminal(None, *given, typed=word, **where)

    code, written = says(b"no\n")
    assert code == 75
    assert "nothing was changed" in written
    assert signer.asked == []
    assert says(b"yes\n")[0] == 0
    assert ctl(signer.path, *given, "--yes")[0] == 0
    assert signer.asked == [("POST", "/v1/secretsd/keys/hot/retire", {"version": 1})] * 2


def test_a_wrapped_key_is_a_file_of_its_owner(signer: FakeSigner, tmp_path: Path) -> None:
    out = tmp_path / "cold.wrapped"
    assert ctl(signer.path, "keys", "wrap", "cold", "-o", str(out))[0] == 0
    assert out.read_bytes() == b"wrapped"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert ctl(signer.path, "keys", "wrap", "cold", "-o", str(tmp_path / "no" / "x"))[0] == 74
    assert os.listdir(tmp_path).count("cold.wrapped") == 1


def test_unwrap_prints_the_line_that_the_approver_types(signer: FakeSigner) -> None:
    code, written, _ = ctl(signer.path, "keys", "unwrap", "cold", given=b"wrapped")
    assert code == 0
    assert f"  secretsctl approve {ID}\n" in written
    assert f"--request {ID}" in written
    assert json.loads(ctl(signer.path, "keys", "unwrap", "cold", "--json", given=b"w")[1]) == documents.ASKED
    code, written, _ = ctl(signer.path, "keys", "unwrap", "cold", "--request", ID, given=b"wrapped")
    assert (code, written.splitlines()[0]) == (0, "unwrapped: version 1 of cold")
    assert signer.asked[-1][2] == {"blob": "d3JhcHBlZA==", "request_id": ID}


def test_unwrap_waits_until_somebody_has_approved(signer: FakeSigner) -> None:
    looks: list[int] = []

    def answer(asked: tuple[str, str, Any]) -> Any:
        if asked[1] == "/v1/secretsd/approvals":
            looks.append(1)
            return {"approvals": [documents.APPROVALS["approvals"][len(looks) > 1]]}
        return canned(asked)

    signer.answer = answer
    code, written, said = ctl(signer.path, "keys", "unwrap", "cold", "--wait", "--json", given=b"wrapped")
    assert (code, json.loads(written)) == (0, documents.MADE)
    assert f"secretsctl approve {ID}" in said, "whoever waits has to know the id"
    assert len(looks) == 2


def test_a_message_that_is_too_long_for_a_request_is_told_what_to_do_instead(signer: FakeSigner) -> None:
    for words in (["sign", "hot"], ["verify", "hot", "--signature", "AAAA"]):
        code, written, said = ctl(signer.path, *words, given=b"x" * 48_001)
        assert (code, written) == (64, "")
        assert "--digest" in said
    assert signer.asked == []
    longest = signer.path, "verify", "hot", "--signature", "A" * 684
    ctl(*longest, given=b"x" * 48_000)
    assert len(json.dumps(signer.asked[-1][2])) < 65_000


def test_an_approver_sees_what_waits_and_approves_it(signer: FakeSigner) -> None:
    whoami, mine = pwd.getpwuid(os.getuid()), copy.deepcopy(documents.APPROVALS)
    mine["approvals"][0]["requester_uid"] = whoami.pw_uid
    signer.answer = lambda _: mine
    written = ctl(signer.path, "approve")[1]
    assert f"cold: asked for by {whoami.pw_name} (uid {whoami.pw_uid}), waits, 9m left" in written
    assert f"another user: secretsctl approve {ID}" in written, "whoever asked is told to approve"
    stranger = 0x7FFF0000
    mine["approvals"][0]["requester_uid"] = stranger
    assert f"cold: asked for by uid {stranger}, waits" in ctl(signer.path, "approve")[1]

    signer.answer = canned
    written = ctl(signer.path, "approve")[1]
    assert "ab" * 32 in written
    assert written.count(f"secretsctl approve {ID}") == 1
    assert json.loads(ctl(signer.path, "approve", "--json")[1]) == documents.APPROVALS
    assert (
        ctl(signer.path, "approve", ID)[1] == "approved: cold may enter the token, once, for whoever asked\n"
    )
    assert signer.asked[-1][:2] == ("POST", f"/v1/secretsd/approvals/{ID}")
    signer.answer = lambda _: {"approvals": []}
    assert ctl(signer.path, "approve")[1] == "nothing waits for an approval\n"


def test_unlock_says_what_came_of_it(signer: FakeSigner) -> None:
    assert ctl(signer.path, "unlock")[:2] == (0, "unlocked: the token works\n")


# What goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(KINDS))
def test_every_refusal_of_the_signer_ends_with_its_own_code(signer: FakeSigner, code: str) -> None:
    signer.answer = lambda _: SigningError(code, "why", advice="the fix")
    ended, written, said = ctl(signer.path, "keys", "list")
    assert (ended, written, said) == (KINDS[code].exit_code, "", "secretsctl: why: the fix\n")


def test_a_word_of_a_newer_signer_is_to_be_tried_again(signer: FakeSigner) -> None:
    body = b'{"errors":["something new"]}'
    head = b"HTTP/1.1 503 X\r\nX-Secretsd-Error: brand-new\r\nContent-Length: %d\r\n\r\n" % len(body)
    signer.answer = lambda _: head + body
    assert ctl(signer.path, "keys") == (75, "", "secretsctl: something new\n")


@pytest.mark.parametrize(
    "answer", [b"", b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"]
)
def test_what_is_no_signer_is_to_be_tried_again(signer: FakeSigner, answer: bytes) -> None:
    signer.answer = lambda _: answer
    code, written, said = ctl(signer.path, "keys")
    assert (code, written) == (75, "")
    assert "systemctl status secretsd-signer; journalctl" in said


def test_a_signer_that_is_down_is_75_with_what_to_look_at(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path / "dead"):
        if path.name == "dead":
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))
        for words in (["keys"], ["sign", "hot"], ["approve"], ["unlock"]):
            code, written, said = ctl(path, *words, given=b"x")
            assert (code, written) == (75, ""), words
            assert "systemctl enable --now secretsd-signer" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a socket of another user: needs root")
def test_a_socket_that_is_closed_to_the_caller_is_77(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        os.chown(path, 65534, 65534)
        # This user, without what lets root pass over modes.
        plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
        done = subprocess.run(
            [*plain, *command(None, "keys")], env=environment(SECRETSD_SIGNER_SOCKET=str(path)),
            capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == ExitCode.REFUSED
    assert done.stderr.decode().startswith(f"secretsctl: may not connect to {path}")


@pytest.mark.parametrize(
    "words",
    [
        ["sign", "../report"],
        ["approve", "a/b"],
        ["verify", "hot"],
        ["verify", "hot", "--signature", "AQI=", "--signature-file", "x"],
        ["verify", "hot", "--signature", "!"],
        ["sign", "hot", "--key-version", "0"],
        ["sign", "orders", "--digest"],
        ["keys", "frobnicate"],
        ["--socket", "/x", "keys"],
        ["keys", "list", "--config", "/x", "--signer-socket", "/y"],
    ],
)
def test_wrong_usage_is_64_and_nothing_is_used(signer: FakeSigner, words: list[str]) -> None:
    code, written, said = ctl(signer.path, *words, given=b"x")
    assert (code, written) == (64, "")
    assert said
    assert [asked for asked in signer.asked if asked[0] != "GET"] == []


def test_a_message_that_is_typed_is_asked_for_as_a_file(signer: FakeSigner) -> None:
    code, written = on_terminal(None, "sign", "hot", SECRETSD_SIGNER_SOCKET=str(signer.path))
    assert code == 64
    assert "--in FILE" in written
