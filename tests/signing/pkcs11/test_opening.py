"""What can be wrong with a module, a token, a PIN or a key: each has its word and its fix."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PinIncorrect, PKCS11Error

from secretsd.signing.errors import SigningError
from secretsd.signing.model import Hash, TokenCall, TokenMechanism
from secretsd.signing.pkcs11 import capabilities
from secretsd.signing.pkcs11.token import Token
from tests.signing.dispatching import hmac_key, signer_config
from tests.signing.softhsm import LABEL, PIN, SoftHsm

WRONG_PIN = "fake-wrong-pin"


def opened(softhsm: SoftHsm, keys: dict[str, dict[str, Any]], **others: Any) -> Token:
    token = Token(signer_config(softhsm, keys, **others))
    token.open()
    return token


def failure(softhsm: SoftHsm, **others: Any) -> SigningError:
    with pytest.raises(SigningError) as caught:
        opened(softhsm, {}, **others)
    assert caught.value.advice
    assert PIN not in caught.value.sentence
    assert WRONG_PIN not in caught.value.sentence
    return caught.value


@pytest.mark.parametrize(
    "module", ["/nonexistent/module.so", "/etc/passwd", "/usr/lib/x86_64-linux-gnu/libc.so.6"]
)
def test_a_module_that_is_none(softhsm: SoftHsm, module: str) -> None:
    assert failure(softhsm, module=module).code == "module-missing"


def test_a_token_that_is_not_there_and_one_that_is_there_twice(softhsm: SoftHsm) -> None:
    assert failure(softhsm, token="another").code == "token-missing"
    command = ("softhsm2-util", "--init-token", "--free", "--label", LABEL, "--so-pin", PIN, "--pin", PIN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **softhsm.environment})
    error = failure(softhsm)
    assert error.code == "token-missing"
    assert "2 tokens" in str(error)


def test_a_token_by_the_number_of_its_slot(softhsm: SoftHsm) -> None:
    token = opened(softhsm, {})
    number = token._token.slot.slot_id
    token.close()
    token = opened(softhsm, {}, token=None, slot=number)
    token.close()
    assert failure(softhsm, token=None, slot=number + 1).code == "token-missing"


def test_a_wrong_pin_latches_until_unlock(softhsm: SoftHsm) -> None:
    softhsm.pin_file.write_text(WRONG_PIN)
    token = Token(signer_config(softhsm, {"mac": hmac_key()}))
    for _ in range(5):
        with pytest.raises(SigningError) as caught:
            token.open()
        assert caught.value.code == "pin-locked"
    softhsm.pin_file.write_text(PIN)
    with pytest.raises(SigningError):
        token.reset()
    token.unlock()
    token.reset()
    token.lane().generate("mac")
    token.close()


def test_of_many_threads_that_lost_the_login_one_tries_a_pin_that_is_wrong_by_now(softhsm: SoftHsm) -> None:
    """Three tries in a row lock the PIN of many tokens for good."""

    class SlowlyJudging(Token):
        def judged(self, error: PKCS11Error) -> SigningError:
            time.sleep(0.02)
            return super().judged(error)

    tries = []

    def refuse(**_: object) -> None:
        tries.append(1)
        raise PinIncorrect

    token = SlowlyJudging(signer_config(softhsm, {}))
    token._token = SimpleNamespace(open=refuse)

    def seen_not_logged_in(_: int) -> str:
        try:
            token.lane()._log_in(0)
        except SigningError as error:
            return error.code
        return "went on"

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(seen_not_logged_in, range(8))) == {"pin-locked"}
    assert len(tries) == 1


def test_a_name_that_means_another_key_after_a_reload_never_uses_the_one_before(softhsm: SoftHsm) -> None:
    token = opened(softhsm, {"mac": hmac_key(label="one"), "other": hmac_key(label="two")})
    lane = token.lane()
    calls = [
        TokenCall(lane.generate(name), TokenMechanism.HMAC, b"message", Hash.SHA2_256)
        for name in ("mac", "other")
    ]
    one, two = map(lane.sign, calls)
    assert one != two
    token.configure(signer_config(softhsm, {"mac": hmac_key(label="two")}))
    token.lane().survey()
    assert lane.sign(TokenCall(token.keys["mac"][0], TokenMechanism.HMAC, b"message", Hash.SHA2_256)) == two
    token.close()


def test_a_key_that_a_reload_took_away_while_work_for_it_waited_is_said_to_be_gone(softhsm: SoftHsm) -> None:
    token = opened(softhsm, {"mac": hmac_key()})
    lane = token.lane()
    token.configure(signer_config(softhsm, {}))
    for work in (lambda: lane.generate("mac"), lambda: lane.unwrap("mac", b"blob")):
        with pytest.raises(SigningError) as caught:
            work()
        assert caught.value.code == "unknown-key"
    token.close()


def test_a_look_at_the_keys_waits_for_a_key_that_is_being_made(softhsm: SoftHsm) -> None:
    """Or what it saw before would hide the new version."""
    token = opened(softhsm, {"mac": hmac_key()})
    looking = threading.Thread(target=token.survey)
    with token.changing:
        looking.start()
        looking.join(0.2)
        assert looking.is_alive()
        session = token.session()
        session.generate_key(KeyType.GENERIC_SECRET, 256, template=_labelled("mac"))
        token.find_again(session, "mac")
    looking.join(5)
    assert [each.number for each in token.keys["mac"]] == [1]
    token.close()


def test_unlock_never_gives_the_token_the_copy_of_a_credential_that_it_refused(
    softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", os.fspath(tmp_path))
    (tmp_path / "hsm-pin").write_text(WRONG_PIN)
    token = Token(signer_config(softhsm, {"mac": hmac_key()}, pin="credential:hsm-pin"))
    with pytest.raises(SigningError) as refused:
        token.open()
    assert refused.value.advice == (
        "put the right PIN into /etc/credstore/hsm-pin, mode 600; then: systemctl restart secretsd-signer"
    )
    with pytest.raises(SigningError) as caught:
        token.unlock()
    assert caught.value is refused.value
    assert token.latched is refused.value, "the next attempt would have tried the same PIN"
    token.close()


def test_a_pin_that_cannot_be_read(softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    softhsm.pin_file.chmod(0o644)
    assert failure(softhsm).code == "pin-missing"
    softhsm.pin_file.chmod(0o600)
    for content in (b"", b"\n", b"\xff\xfe", b"x" * 2000):
        softhsm.pin_file.write_bytes(content)
        assert failure(softhsm).code == "pin-missing"
    assert failure(softhsm, pin=f"file:{tmp_path}").code == "pin-missing"
    assert failure(softhsm, pin=f"file:{tmp_path}/none").code == "pin-missing"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert failure(softhsm, pin="credential:hsm-pin").code == "pin-missing"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", os.fspath(tmp_path))
    assert failure(softhsm, pin="credential:hsm-pin").code == "pin-missing"
    (tmp_path / "hsm-pin").write_text(f"{PIN}\r\n")
    opened(softhsm, {}, pin="credential:hsm-pin").close()


def test_a_pin_that_is_a_fifo_does_not_block_the_start(softhsm: SoftHsm) -> None:
    softhsm.pin_file.unlink()
    os.mkfifo(softhsm.pin_file, 0o600)
    assert failure(softhsm).code == "pin-missing"


def test_a_label_that_exists_twice_is_not_guessed_at(softhsm: SoftHsm) -> None:
    token = opened(softhsm, {"mac": hmac_key(), "other": hmac_key()})
    token.lane().generate("mac")
    token.lane().generate("other")
    session = token.session()
    session.generate_key(KeyType.GENERIC_SECRET, 256, template=_labelled("mac"))
    token.reset()
    assert token.problems["mac"].code == "key-ambiguous"
    assert "2 objects" in str(token.problems["mac"])
    assert "mac" not in token.keys
    assert token.keys["other"][0].number == 1
    token.close()


def _labelled(label: str) -> dict[Any, Any]:
    return {Attribute.LABEL: label, Attribute.TOKEN: True, Attribute.SIGN: True, Attribute.VERIFY: True}


@pytest.mark.parametrize(
    ("made_as", "configured_as"),
    [
        ("ecdsa-p256", "ecdsa-secp256k1"),
        ("ecdsa-secp256k1", "ecdsa-p384"),
        ("ecdsa-p256", "ed25519"),
        ("ed25519", "ecdsa-p256"),
        ("rsa-2048", "rsa-3072"),
        ("rsa-2048", "ecdsa-p256"),
    ],
)
def test_a_key_of_another_type_is_not_used(softhsm: SoftHsm, made_as: str, configured_as: str) -> None:
    token = opened(softhsm, {"key": {"type": made_as, "operations": ["sign"]}})
    token.lane().generate("key")
    token.configure(signer_config(softhsm, {"key": {"type": configured_as, "operations": ["sign"]}}))
    token.reset()
    assert token.problems["key"].code == "key-unfit"
    assert configured_as in str(token.problems["key"])
    token.close()


def test_a_key_that_is_missing_and_one_found_by_its_id(softhsm: SoftHsm) -> None:
    token = opened(softhsm, {"mac": hmac_key(id="01ab")})
    assert token.problems["mac"].code == "key-missing"
    lane = token.lane()
    made = lane.generate("mac")
    assert made.number == 1
    with pytest.raises(SigningError, match="one version"):
        lane.generate("mac")
    call = TokenCall(made, TokenMechanism.HMAC, b"message", Hash.SHA2_256)
    mac = lane.sign(call)
    token.reset()
    assert token.lane().sign(call) == mac
    token.close()


def test_versions_are_counted_up_and_the_old_ones_stay(softhsm: SoftHsm) -> None:
    token = opened(softhsm, {"mac": hmac_key()})
    lane = token.lane()
    made = [lane.generate("mac") for _ in range(3)]
    assert [each.number for each in made] == [1, 2, 3]
    macs = [lane.sign(TokenCall(each, TokenMechanism.HMAC, b"message", Hash.SHA2_256)) for each in made]
    assert len(set(macs)) == 3
    lane.retire("mac", 2)
    token.reset()
    assert [each.is_retired for each in token.keys["mac"]] == [False, True, False]
    lane = token.lane()
    with pytest.raises(SigningError) as caught:
        lane.sign(TokenCall(made[1], TokenMechanism.HMAC, b"message", Hash.SHA2_256))
    assert caught.value.code == "version-retired"
    assert lane.verify_mac(
        TokenCall(token.keys["mac"][1], TokenMechanism.HMAC, b"message", Hash.SHA2_256), macs[1]
    )
    token.close()


def test_what_was_asked_before_a_version_was_retired_is_refused_and_still_checked(softhsm: SoftHsm) -> None:
    token = opened(softhsm, {"mac": hmac_key()})
    lane, other, fresh = token.lane(), token.lane(), token.lane()
    call = TokenCall(lane.generate("mac"), TokenMechanism.HMAC, b"message", Hash.SHA2_256)
    mac = other.sign(call)
    lane.retire("mac", 1)
    for each in (other, fresh):
        with pytest.raises(SigningError) as caught:
            each.sign(call)
        assert caught.value.code == "version-retired"
        assert each.verify_mac(call, mac)
        assert not each.verify_mac(call, bytes(32))
    token.close()


def test_a_key_without_wrapped_by_can_never_leave(softhsm: SoftHsm) -> None:
    keys = {
        "stays": {"type": "ecdsa-p256", "operations": ["sign"]},
        "leaves": {"type": "ecdsa-p256", "operations": ["sign", "wrap"], "wrapped_by": "kek"},
        "kek": {"type": "aes256-wrap"},
    }
    token = opened(softhsm, keys)
    for name in keys:
        token.lane().generate(name)
    for name, can_leave in (("stays", False), ("leaves", True), ("kek", False)):
        class_ = ObjectClass.SECRET_KEY if name == "kek" else ObjectClass.PRIVATE_KEY
        found = next(iter(token.session().get_objects({Attribute.LABEL: name, Attribute.CLASS: class_})))
        assert found[Attribute.EXTRACTABLE] is can_leave
        assert found[Attribute.SENSITIVE] is True
    token.close()


def test_the_token_s_mechanisms_are_compared_with_what_each_key_needs(softhsm: SoftHsm) -> None:
    class Slot:
        """One without Ed25519, and with short RSA keys."""

        def get_mechanisms(self) -> set[Mechanism]:
            return set(real.slot.get_mechanisms()) - {Mechanism.EDDSA}

        def get_mechanism_info(self, mechanism: Mechanism) -> Any:
            return SimpleNamespace(min_key_length=512, max_key_length=2048)

    types = ("ecdsa-p256", "ed25519", "rsa-2048", "rsa-3072", "hmac", "aes256-gcm96", "aes256-wrap")
    uses = {"hmac": ["hmac"], "aes256-gcm96": ["encrypt"], "aes256-wrap": []}
    keys = {each: {"type": each, "operations": uses.get(each, ["sign"])} for each in types}
    token = opened(softhsm, keys)
    assert token.capabilities is not None
    assert token.capabilities.lacking == {}
    real = token._token
    config = signer_config(softhsm, keys)
    other = SimpleNamespace(slot=Slot(), label=real.label, model=real.model, serial=real.serial)
    lacking = capabilities.look(token._library, other, config).lacking
    assert lacking == {"ed25519": ("EDDSA",), "rsa-3072": ("RSA_PKCS", "RSA_PKCS_PSS")}
    token.close()
