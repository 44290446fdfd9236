"""Each error that a PKCS#11 module may return, at each call: recovered or answered as the table says."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyVersion
from secretsd.signing.pkcs11.lane import Lane, NeedsReset
from secretsd.signing.pkcs11.token import Token
from tests.signing.dispatching import Running, hmac_key, signer_config
from tests.signing.shim import CODES, FOREVER, Shim
from tests.signing.softhsm import SoftHsm, make_softhsm

FUNCTIONS = ("C_OpenSession", "C_Login", "C_FindObjects", "C_SignInit", "C_Sign")
# What leads to the call that is to fail: sessions, handles and logins are made anew when they were lost.
LEADS_TO = {
    "C_OpenSession": "CKR_SESSION_CLOSED",
    "C_FindObjects": "CKR_SESSION_CLOSED",
    "C_Login": "CKR_USER_NOT_LOGGED_IN",
}
ANSWERS = {
    "CKR_FUNCTION_FAILED": {"token-busy", "token-unavailable"},
    "CKR_HOST_MEMORY": {"token-busy", "token-unavailable"},
}
UNAVAILABLE = {"token-unavailable", "token-busy"}
LIMIT_S = 1.0


@pytest.fixture(scope="module")
def tampered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SoftHsm, Shim]]:
    """A token behind the shim, in this process: the shim maps its control file once."""
    directory = tmp_path_factory.mktemp("shim")
    softhsm, shim = make_softhsm(directory / "softhsm"), Shim(directory)
    before = dict(os.environ)
    os.environ.update(softhsm.environment | shim.environment)
    yield softhsm, shim
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def shim(tampered: tuple[SoftHsm, Shim]) -> Iterator[Shim]:
    tampered[1].clear()
    yield tampered[1]
    tampered[1].clear()


@pytest.fixture
def token(tampered: tuple[SoftHsm, Shim]) -> Token:
    softhsm, shim = tampered
    keys = {"mac": hmac_key(), "other": hmac_key()}
    token = Token(signer_config(softhsm, keys, module=str(shim.module)))
    token.open()
    lane = token.lane()
    for name in keys:
        if name not in token.keys:
            lane.generate(name)
    token.close()
    return token


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def _timed(running: Running) -> tuple[Any, float]:
    began_s = time.monotonic()
    result = await running.mac()
    return result, time.monotonic() - began_s


def _arm(shim: Shim, function: str, code: str, times: int, *, inline: bool = False) -> None:
    if function in LEADS_TO:
        # Inline, a thread with another session tries after the first error: it has to meet one, too.
        shim.fail("C_Sign", LEADS_TO[function], 1 + inline if times == 1 else FOREVER)
    shim.fail(function, code, times)


@pytest.mark.parametrize("inline", [False, True], ids=["workers", "inline"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("code", CODES)
def test_an_error_once_is_recovered_within_a_second(
    shim: Shim, token: Token, code: str, function: str, inline: bool
) -> None:
    async def test() -> None:
        async with Running(token, inline=inline) as running:
            good = await running.mac()
            shim.clear()
            _arm(shim, function, code, 1, inline=inline)
            result, took_s = await _timed(running)
            assert took_s < LIMIT_S
            if code == "CKR_PIN_INCORRECT":
                assert isinstance(result, SigningError)
                assert result.code == "pin-locked"
                assert shim.calls("C_Login") <= 1
                token.unlock()
                running.dispatcher.bring_up()
                await running.until_up()
            else:
                assert result == good
            assert shim.calls(function) >= 1, "the fault was never met"
            shim.clear()
            assert await running.mac() == good

    run(test())


@pytest.mark.parametrize("inline", [False, True], ids=["workers", "inline"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("code", CODES)
def test_an_error_that_stays_is_answered_within_a_second_and_its_end_is_noticed(
    shim: Shim, token: Token, code: str, function: str, inline: bool
) -> None:
    async def test() -> None:
        async with Running(token, inline=inline) as running:
            good = await running.mac()
            shim.clear()
            _arm(shim, function, code, FOREVER)
            result, took_s = await _timed(running)
            assert isinstance(result, SigningError)
            assert took_s < LIMIT_S
            if code == "CKR_PIN_INCORRECT":
                assert result.code == "pin-locked"
                for _ in range(20):
                    assert (await running.mac()).code == "pin-locked"
                assert shim.calls("C_Login") <= 1, "a wrong PIN was tried again"
            else:
                assert result.code in UNAVAILABLE
            shim.clear()
            token.unlock()
            running.dispatcher.bring_up()
            await running.until_up()
            until_s = time.monotonic() + 2.0
            while (result := await running.mac()) != good:
                assert time.monotonic() < until_s, result
                await asyncio.sleep(0.02)

    run(test())


def test_the_matrix_sees_an_error_that_nothing_recovers_from(shim: Shim, token: Token) -> None:
    async def test() -> None:
        async with Running(token, inline=False) as running:
            await running.mac()
            shim.clear()
            shim.fail("C_Sign", "CKR_DEVICE_ERROR", FOREVER)
            result, _ = await _timed(running)
            assert isinstance(result, SigningError)

    run(test())


@pytest.mark.parametrize(
    "function", ["C_Initialize", "C_Finalize", "C_OpenSession", "C_Login", "C_FindObjects"]
)
@pytest.mark.parametrize("code", ["CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR", "CKR_USER_NOT_LOGGED_IN"])
def test_a_way_back_that_fails_itself_is_gone_again(
    shim: Shim, token: Token, code: str, function: str
) -> None:
    async def test() -> None:
        async with Running(token, inline=False) as running:
            good = await running.mac()
            shim.clear()
            shim.fail("C_Sign", "CKR_DEVICE_REMOVED")
            shim.fail(function, code, 4)  # more than one attempt's tries
            result, took_s = await _timed(running)
            assert took_s < LIMIT_S
            assert result == good or result.code in UNAVAILABLE
            assert shim.calls(function) >= 1, "the fault was never met"
            until_s = time.monotonic() + 2.0
            while (result := await running.mac()) != good:
                assert result.code in UNAVAILABLE
                assert time.monotonic() < until_s, "the token did not come back"
                await asyncio.sleep(0.02)

    run(test())


def test_a_busy_token_is_left_alone_for_a_while(shim: Shim, token: Token) -> None:
    async def test() -> None:
        async with Running(token, inline=False) as running:
            await running.mac()
            shim.clear()
            shim.fail("C_Sign", "CKR_FUNCTION_FAILED", FOREVER)
            for _ in range(40):
                assert (await running.mac()).code == "token-busy"
            asked = shim.calls("C_Sign")
            for _ in range(40):
                assert (await running.mac()).code == "token-busy"
            assert shim.calls("C_Sign") - asked <= 4 * 3, "the open breaker let requests through"
            shim.clear()
            await asyncio.sleep(0.3)
            assert isinstance(await running.mac(), bytes)

    run(test())


def test_a_key_that_the_token_refuses_does_not_close_the_others(shim: Shim, token: Token) -> None:
    async def test() -> None:
        async with Running(token, inline=False) as running:
            await running.mac()
            shim.clear()
            shim.fail("C_SignInit", "CKR_KEY_FUNCTION_NOT_PERMITTED", FOREVER)
            for _ in range(40):
                assert (await running.mac()).code == "token-refused"
            assert shim.calls("C_SignInit") == 40, "it was tried again"
            shim.clear()
            assert isinstance(await running.mac("other"), bytes)

    run(test())


def test_a_library_that_somebody_finalized_is_initialised_again(shim: Shim, token: Token) -> None:
    async def test() -> None:
        async with Running(token, inline=False) as running:
            good = await running.mac()
            shim.clear()
            shim.fail("C_SignInit", "CKR_CRYPTOKI_NOT_INITIALIZED")
            assert await running.mac() == good
            assert shim.calls("C_Initialize") == 1

    run(test())


def test_a_call_that_hangs_does_not_hold_up_other_keys(shim: Shim, token: Token) -> None:
    async def test() -> None:
        shim.only("mac")
        async with Running(token, inline=False) as running:
            await running.mac()
            shim.delay("C_Sign", 1.0)
            hanging = [asyncio.ensure_future(running.mac()) for _ in range(8)]
            await asyncio.sleep(0.05)
            worst_s = 0.0
            for _ in range(200):
                began_s = time.monotonic()
                assert isinstance(await running.mac("other"), bytes)
                worst_s = max(worst_s, time.monotonic() - began_s)
            assert not any(each.done() for each in hanging), "the delay did not happen"
            assert worst_s < 0.25
            shim.delay("C_Sign", 0)
            await asyncio.gather(*hanging)

    run(test())


def test_a_token_that_vanishes_comes_back_by_itself(
    shim: Shim, token: Token, tampered: tuple[SoftHsm, Shim]
) -> None:
    async def test() -> None:
        async with Running(token, inline=False) as running:
            good = await running.mac()
            tokens = tampered[0].tokens
            away = Path(f"{tokens}.away")
            tokens.rename(away)
            tokens.mkdir()
            shim.fail("C_Sign", "CKR_DEVICE_REMOVED")
            result = await running.mac()
            assert isinstance(result, SigningError)
            assert result.code in {"token-missing", "token-unavailable"}
            tokens.rmdir()
            away.rename(tokens)
            await running.until_up()
            assert await running.mac() == good

    run(test())


@pytest.fixture
def aes(tampered: tuple[SoftHsm, Shim], shim: Shim) -> Iterator[tuple[Lane, KeyVersion]]:
    keys = {"aes": {"type": "aes256-gcm96", "operations": ["encrypt", "decrypt"]}}
    token = Token(signer_config(tampered[0], keys, module=str(shim.module)))
    token.open()
    lane = token.lane()
    yield lane, lane.generate("aes") if "aes" not in token.keys else token.keys["aes"][-1]
    token.close()


@pytest.mark.parametrize("how", [1, 2], ids=["any buffer", "an empty buffer"])
def test_the_iv_that_the_token_chose_is_the_one_given_out(
    aes: tuple[Lane, KeyVersion], shim: Shim, how: int
) -> None:
    lane, key = aes
    for _ in range(2):
        shim.write_iv(how)
        blob = lane.encrypt(key, b"plaintext", b"about")
        assert blob[:12] == b"\xa5" * 12
        shim.clear()
        assert lane.decrypt(key, blob, b"about") == b"plaintext"


def test_nothing_is_encrypted_with_an_empty_iv(aes: tuple[Lane, KeyVersion], shim: Shim) -> None:
    lane, key = aes
    shim.write_iv(3)
    for _ in range(2):
        with pytest.raises(SigningError) as caught:
            lane.encrypt(key, b"plaintext", b"about")
        assert caught.value.code == "token-refused"
    shim.clear()
    ivs = {lane.encrypt(key, b"", b"")[:12] for _ in range(50)}
    assert len(ivs) == 50
    assert bytes(12) not in ivs


@pytest.mark.parametrize("code", ["CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR", "CKR_SESSION_CLOSED"])
def test_half_a_key_is_not_left_on_the_token(tampered: tuple[SoftHsm, Shim], shim: Shim, code: str) -> None:
    name = f"half-{code.lower()}"
    keys = {name: {"type": "ecdsa-p256", "operations": ["sign"]}}
    token = Token(signer_config(tampered[0], keys, module=str(shim.module)))
    token.open()
    lane = token.lane()
    private = ec.generate_private_key(ec.SECP256R1())
    material = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    first = lane.import_key(name, material)
    shim.fail("C_CreateObject", code, FOREVER)
    with pytest.raises((SigningError, NeedsReset)):
        lane.import_key(name, material)
    shim.clear()
    token.reset()
    assert token.keys[name] == (first,), "what was left took the good version away"
    assert token.lane().import_key(name, material).number == 2
    token.close()


def test_keys_are_wrapped_by_the_mechanism_that_the_token_has(
    tampered: tuple[SoftHsm, Shim], shim: Shim
) -> None:
    keys = {
        "kek": {"type": "aes256-wrap"},
        "leaves": {"type": "ecdsa-p256", "operations": ["sign", "wrap"], "wrapped_by": "kek"},
        "comes": {"type": "ecdsa-p256", "operations": ["sign", "unwrap"], "wrapped_by": "kek"},
    }
    token = Token(signer_config(tampered[0], keys, module=str(shim.module)))
    token.open()
    lane = token.lane()
    lane.generate("kek")
    left = lane.generate("leaves")
    standard = lane.wrap("leaves", 1)
    shim.wrap_by_its_own_mechanism()
    token.survey()
    assert token.capabilities is not None
    assert not token.capabilities.lacking
    own = lane.wrap("leaves", 1)
    assert lane.unwrap("comes", standard).public_key == left.public_key
    shim.clear()
    assert lane.unwrap("comes", own).public_key == left.public_key
    token.close()
