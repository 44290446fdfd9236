"""What is shown, and what must be true of it."""

from __future__ import annotations

import sys
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.demo.stage import Stage


class UnexpectedError(Exception):
    """The story took another turn; says what was expected."""


def tell(stage: Stage) -> int:
    """Plays every scene; returns 0 when each came out as it should, else 1."""
    scenes = (
        _a_bot_starts,
        _a_rotation_arrives,
        _a_bad_rotation_is_refused,
        _an_outage_is_survived,
        _another_region_takes_over,
        _drift_is_repaired,
        _a_rollback_holds,
        _a_key_stays_on_its_token,
    )
    print(f"On {stage.place}.")
    for number, scene in enumerate(scenes, 1):
        print(f"\n{number}. {(scene.__doc__ or '').splitlines()[0]}")
        try:
            scene(stage)
        except UnexpectedError as unexpected:
            print(f"   WRONG, this was to be: {unexpected}", file=sys.stderr)
            return 1
    return 0


def _a_bot_starts(stage: Stage) -> None:
    """A bot starts from a file that only it can read"""
    stage.start_bot()
    _expect_key(stage, "fake-key-1")
    _say(stage.published())


def _a_rotation_arrives(stage: Stage) -> None:
    """Someone rotates the key in Secrets Manager, then runs: secretsctl reload"""
    began = time.monotonic()
    stage.rotate({"API_KEY": "fake-key-2"})
    _run(stage, "reload", expect=0)
    seen_at = _expect_key(stage, "fake-key-2")
    _say(f"the bot works with the new key {1000 * (seen_at - began):.0f} ms after PutSecretValue began")
    _run(stage, "status", expect=0)


def _a_bad_rotation_is_refused(stage: Stage) -> None:
    """A rotation goes wrong: the new version lacks the key"""
    stage.rotate({"api_key": "fake-key-under-a-wrong-name"})
    _run(stage, "reload", expect=65)
    stage.start_bot()
    _expect_key(stage, "fake-key-2")
    _say("the last good bundle stays: a bot that starts now still gets it")
    stage.rotate({"API_KEY": "fake-key-3"})
    _run(stage, "reload", expect=0)
    _expect_key(stage, "fake-key-3")


def _an_outage_is_survived(stage: Stage) -> None:
    """AWS does not answer any more, in no region; secretsd is restarted, and so is the bot"""
    with stage.outage():
        _run(stage, "reload", expect=69)
        stage.restart_daemon()
        stage.start_bot()
        _expect_key(stage, "fake-key-3")
        _say("the bot started during the outage, from what a secretsd that is gone by now had published")
        _run(stage, "status", expect=0)
    stage.rotate({"API_KEY": "fake-key-4"})
    _run(stage, "reload", expect=0)
    _expect_key(stage, "fake-key-4")
    _say("AWS is back, and so is the next rotation")


def _another_region_takes_over(stage: Stage) -> None:
    """The region of the secret is away, and somebody rotates it in the other one"""
    # The local AWS dates versions in whole seconds, and a replica is believed what has a later date.
    time.sleep(1)
    with stage.outage_of_home():
        stage.rotate({"API_KEY": "fake-key-5"})
        _run(stage, "reload", expect=0)
        _expect_key(stage, "fake-key-5")
        _run(stage, "status", expect=0)
    _say("nothing failed: the replica was not older than what was published")


def _drift_is_repaired(stage: Stage) -> None:
    """Someone edits the published file on the host, and restores its mtime"""
    stage.tamper()
    began = time.monotonic()
    while stage.published_key() != "fake-key-5":
        if time.monotonic() - began > 2:
            raise UnexpectedError("the file is repaired within 2 s")
        time.sleep(0.02)
    _say(
        f"it was as before after {1000 * (time.monotonic() - began):.0f} ms; the history says what was done:"
    )
    _run(stage, "history", "bot", expect=0)


def _a_rollback_holds(stage: Stage) -> None:
    """A rotation fits every rule, and the exchange refuses its key: go back, and stay there"""
    stage.rotate({"API_KEY": "fake-key-6"})
    _run(stage, "reload", expect=0)
    _expect_key(stage, "fake-key-6")
    _run(stage, "rollback", "bot", "--reason", "orders are refused", expect=0)
    _expect_key(stage, "fake-key-5")
    _run(stage, "reload", expect=0)
    _run(stage, "status", "bot", expect=0)
    _expect_key(stage, "fake-key-5")
    _say("AWS still has the bad key as current; the bot keeps the good one")
    # The local AWS dates versions in whole seconds, and newer is what has a later date.
    time.sleep(1)
    stage.rotate({"API_KEY": "fake-key-7"})
    _run(stage, "reload", expect=0)
    _expect_key(stage, "fake-key-7")
    _say("a newer version ended the rollback by itself")


def _a_key_stays_on_its_token(stage: Stage) -> None:
    """An order is signed by a key that nobody holds: it was made on a token (SoftHSM) and stays there"""
    stage.set_up_token()
    order, signature = f"{stage.folder()}/order", f"{stage.folder()}/order.sig"
    stage.write(order, b'{"side": "buy", "amount": "0.1"}')
    _run(stage, "keys", "generate", "demo", expect=0)
    _run(stage, "sign", "demo", "--in", order, "--out", signature, expect=0)
    _run(stage, "verify", "demo", "--in", order, "--signature-file", signature, expect=0)
    code, pem = stage.secretsctl("public-key", "demo")
    if code or not _is_signed(pem.encode(), stage.read(order), stage.read(signature)):
        raise UnexpectedError("a signature that is good for the public key")
    _say("the same was checked here, without secretsd: the signature is good for the public key")


def _is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    key = load_pem_public_key(public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _run(stage: Stage, *command: str, expect: int) -> None:
    code, said = stage.secretsctl(*command)
    _say(f"$ secretsctl {' '.join(command)}", said.rstrip(), *([f"exit code {code}"] if code else []))
    if code != expect:
        raise UnexpectedError(f"exit code {expect}, not {code}")


def _expect_key(stage: Stage, key: str) -> float:
    """Returns when the bot took `key`."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        seen = stage.bot_saw()
        if seen and seen[-1][0] == key:
            return seen[-1][1]
        time.sleep(0.05)
    raise UnexpectedError(f"the bot has {key}")


def _say(*lines: str) -> None:
    for text in lines:
        for line in text.splitlines():
            print(f"   {line}")
