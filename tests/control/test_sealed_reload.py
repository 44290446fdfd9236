"""What an operator does about a sealed copy in an outage, and what the answer says."""

from __future__ import annotations

import time

import pytest

from secretsd.errors import ExitCode
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.messages import SealPlace
from secretsd.refresh.sealed import copies
from tests.control.test_commands import ask
from tests.refresh.daemon import Daemon, Home, a_bundle, live


def lasting(max_age: str) -> str:
    return a_bundle(keys=f'sealed_copy = {{ max_age = "{max_age}" }}', more="")


def test_a_longer_max_age_and_a_reload_publish_the_copy_and_the_answer_says_no_more_that_it_is_too_old(
    home: Home,
) -> None:
    async def scenario() -> None:
        home.configure(lasting("1h"))
        home.vault.put("prod/bot", {"TOKEN": "fake-first"})
        async with Daemon(home) as daemon:
            await daemon.until(lambda: 1 in daemon.state().sealed)
        home.reboot()
        home.vault.fail("prod/bot")
        secret = FetchedSecret(SecretRef("aws", "prod/bot"), "v1", None, b'{"TOKEN": "fake-first"}')
        place = SealPlace(str(home.state_dir), f"file:{home.key}")
        copies.make(place, "bot", 1, [secret], now=time.time() - 5000)
        async with Daemon(home) as daemon:
            await daemon.until(lambda: len(daemon.status()["failures"]) == 2)
            assert "its max_age (1 h)" in daemon.status()["failures"][1]["message"]
            home.configure(lasting("7d"))
            reply = await ask(daemon, "reload", "bot")
            assert daemon.status()["sealed"]["in_use"] is True, "published by the time that reload returns"
            assert reply.code is ExitCode.UNAVAILABLE, "its source has not answered"
            assert "max_age" not in str(reply.body["lines"])
            assert [each["code"] for each in daemon.status()["failures"]] == ["fake-transient"]

    live(scenario())


def test_a_copy_that_is_refused_after_each_round_fills_no_journal(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        home.configure(lasting("1h"))
        home.vault.put("prod/bot", {"TOKEN": "fake-first"})
        async with Daemon(home) as daemon:
            await daemon.until(lambda: 1 in daemon.state().sealed)
        home.reboot()
        home.vault.fail("prod/bot")
        home.key.write_bytes(bytes(32))
        caplog.set_level("INFO")
        caplog.clear()
        async with Daemon(home) as daemon:
            for _ in range(3):
                await ask(daemon, "reload", "bot")
            assert "sealed-key-wrong" in str(daemon.status()["failures"])
        said = [record.message for record in caplog.records]
        assert (said.count("restoring"), said.count("not unsealed")) == (1, 1)

    live(scenario())
