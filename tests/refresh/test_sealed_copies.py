"""A host that boots while its source is out, and what its sealed copies must never do."""

from __future__ import annotations

import time

import pytest

from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh import overrule
from secretsd.refresh.files import confirmations
from secretsd.refresh.messages import SealPlace
from secretsd.refresh.sealed import choice, copies
from tests.canary.scan import Tree
from tests.canary.spellings import MARKER, needles
from tests.canary.tally import Tally
from tests.refresh.daemon import Daemon, Home, a_bundle, live

SEALED = 'sealed_copy = { max_age = "7d" }'
KEY = bytes(range(32))


@pytest.fixture
def home(home: Home) -> Home:
    home.configure(a_bundle(keys=SEALED))
    home.vault.put("prod/bot", {"TOKEN": "fake-first"})
    return home


def codes(daemon: Daemon) -> list[str]:
    return [each["code"] for each in daemon.status()["failures"]]


async def unsealed(daemon: Daemon) -> None:
    await daemon.until(lambda: daemon.state().unsealed is not None)


async def refused(daemon: Daemon, code: str) -> None:
    await daemon.until(lambda: code in codes(daemon))
    assert daemon.state().record is None


async def sealed(daemon: Daemon, generation: int = 1) -> None:
    await daemon.until(lambda: generation in daemon.state().sealed)


def test_a_boot_while_the_source_is_out_publishes_the_sealed_copy_and_says_so(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            was = home.env()
            assert daemon.status()["sealed"]["in_use"] is False
        home.reboot()
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            await unsealed(daemon)
            assert home.env() == was
            status = daemon.status()
            assert status["generation"] == 2
            assert status["sealed"]["in_use"] is True
            assert status["confirmed_at"] == status["sealed"]["confirmed_at"] is not None
            assert codes(daemon) == ["fake-transient"]
            history = daemon.state().entry.history[-1]
            assert history.copy_of == 1
            assert "sealed copy" in history.reason

    live(scenario())


async def boot_in_an_outage(home: Home) -> None:
    """One run that seals, then a reboot, and the source is out from now on."""
    async with Daemon(home) as daemon:
        await sealed(daemon)
    home.reboot()
    home.vault.fail("prod/bot")


def test_when_the_source_answers_again_nothing_is_rewritten_and_nobody_is_told(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        async with home.helper() as helper, Daemon(home) as daemon:
            await unsealed(daemon)
            await daemon.loaded()
            told, file = helper.told, home.identity_of_file()
            home.vault.versions["prod/bot"] = 0
            home.vault.put("prod/bot", {"TOKEN": "fake-first"})
            await daemon.refresh()
            assert daemon.status()["sealed"]["in_use"] is False
            assert (helper.told, home.identity_of_file()) == (told, file)
            home.vault.put("prod/bot", {"TOKEN": "fake-second"})
            await daemon.refresh()
            assert b"fake-second" in home.env()

    live(scenario())


def test_a_restart_of_the_daemon_in_the_outage_does_not_make_the_copy_look_confirmed(
    home: Home,
) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        async with Daemon(home) as daemon:
            await unsealed(daemon)
            confirmed_at = daemon.status()["confirmed_at"]
        async with Daemon(home) as daemon:
            assert daemon.status()["sealed"]["in_use"] is True
            assert daemon.status()["confirmed_at"] == confirmed_at
            assert daemon.generation() == 2

    live(scenario())


def test_what_lies_beside_a_bundle_s_copies_does_not_keep_it_from_starting(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        every = home.state_dir / "sealed"
        (every / "loop").symlink_to("loop")  # cannot be read, as what another user has put there
        (every / "bot" / ("9" * 200)).write_bytes(b"")
        (every / "bot" / "\u0663").write_bytes(b"")
        async with Daemon(home) as daemon:
            await unsealed(daemon)
            assert daemon.generation() == 2

    live(scenario())


def test_an_altered_copy_is_refused_by_name_and_nothing_is_published(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        copy = home.state_dir / "sealed" / "bot" / "1"
        content = bytearray(copy.read_bytes())
        content[-1] ^= 1
        copy.write_bytes(content)
        async with Daemon(home) as daemon:
            await refused(daemon, "sealed-altered")
            await daemon.refresh()
            assert codes(daemon) == ["fake-transient", "sealed-altered"]

    live(scenario())


def test_who_alters_the_newest_copy_does_not_get_the_one_before_it_published(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            home.vault.put("prod/bot", {"TOKEN": "fake-second"})
            await daemon.refresh()
            await sealed(daemon, 2)
        assert home.copies == ["1", "2"]
        (home.state_dir / "sealed" / "bot" / "2").write_bytes(b"")
        home.reboot()
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            await refused(daemon, "sealed-altered")

    live(scenario())


def test_a_deleted_newest_copy_does_not_bring_back_the_one_before_it(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            home.vault.put("prod/bot", {"TOKEN": "fake-second"})
            await daemon.refresh()
            await sealed(daemon, 2)
        (home.state_dir / "sealed" / "bot" / "2").unlink()
        home.reboot()
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            await refused(daemon, "sealed-outdated")

    live(scenario())


def test_a_copy_under_another_generation_or_bundle_or_key_is_refused(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            home.vault.put("prod/bot", {"TOKEN": "fake-second"})
            await daemon.refresh()
            await sealed(daemon, 2)
        directory = home.state_dir / "sealed" / "bot"
        newest = (directory / "2").read_bytes()
        home.vault.fail("prod/bot")
        for content, key, code in (
            ((directory / "1").read_bytes(), KEY, "sealed-moved"),
            (newest, KEY[::-1], "sealed-key-wrong"),
            (newest, b"", "sealed-key-missing"),
        ):
            (directory / "2").write_bytes(content)
            home.key.write_bytes(key)
            home.reboot()
            async with Daemon(home) as daemon:
                await refused(daemon, code)

    live(scenario())


def test_what_was_withdrawn_does_not_come_back_from_its_copy(home: Home) -> None:
    async def scenario() -> None:
        home.configure(a_bundle(keys=SEALED + '\non_refusal = "withdraw"'))
        async with Daemon(home) as daemon:
            await sealed(daemon)
            home.vault.fail("prod/bot", FailureClass.REFUSAL)
            await daemon.refresh()
            assert daemon.generation() is None
            assert home.copies == []
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            assert codes(daemon) == ["fake-transient"]
            assert daemon.generation() is None

    live(scenario())


def test_a_crash_in_the_middle_of_a_withdrawal_does_not_bring_it_back(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            await daemon.conductor.bundles.notebook.note_removed("bot")  # and dies
        home.reboot()
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            assert home.copies == []
            assert daemon.generation() is None

    live(scenario())


def test_a_refused_secret_that_is_to_be_kept_is_published_from_the_copy(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        home.vault.fail("prod/bot", FailureClass.REFUSAL)
        async with Daemon(home) as daemon:
            await unsealed(daemon)

    live(scenario())


def test_who_takes_sealed_copy_out_of_the_configuration_finds_no_copy_left(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            home.configure(a_bundle())
            await daemon.conductor.reload_configuration()
            assert home.copies == []
            assert daemon.status()["sealed"] is None

    live(scenario())


def test_an_operators_rollback_survives_a_reboot_in_an_outage(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            home.vault.put("prod/bot", {"TOKEN": "fake-second"})
            await daemon.refresh()
            await sealed(daemon, 2)
            bundles = daemon.conductor.bundles
            await overrule.rollback(bundles, "bot", to=None, by="uid 0", reason="")
            daemon.conductor.look()
            await daemon.until(lambda: daemon.generation() == 3)
            await daemon.refresh()  # which must not tidy away the copy that the rollback shows
        home.reboot()
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            await unsealed(daemon)
            assert b"fake-first" in home.env()
            assert daemon.state().entry.hold is not None
            home.vault.put("prod/bot", {"TOKEN": "fake-second"})
            home.vault.versions["prod/bot"] = 2
            await daemon.refresh()
            assert b"fake-first" in home.env()
            assert daemon.state().entry.hold is not None

    live(scenario())


def test_a_held_bundle_whose_copy_is_of_something_else_is_not_published(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            await overrule.hold(daemon.conductor.bundles, "bot", by="uid 0", reason="")
            state = daemon.state()
            assert state.entry.hold is not None
        directory = home.state_dir / "sealed" / "bot"
        home.vault.put("prod/bot", {"TOKEN": "fake-second"})
        (directory / "1").unlink()
        async with Daemon(home) as daemon:
            await overrule.resume(daemon.conductor.bundles, "bot", by="uid 0")
            await daemon.refresh()
            await sealed(daemon, 2)
            hold = daemon.state().entry.hold
            assert hold is None
            await daemon.conductor.bundles.notebook.hold("bot", state.entry.hold)
        home.reboot()
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            await refused(daemon, "sealed-not-held")

    live(scenario())


def test_a_copy_that_lacks_a_secret_of_today_is_refused(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        home.configure(a_bundle(secret="prod/other", keys=SEALED))
        home.vault.fail("prod/other")
        async with Daemon(home) as daemon:
            await refused(daemon, "sealed-config-changed")

    live(scenario())


def test_a_disk_that_cannot_be_written_stops_no_publish_and_status_warns(home: Home) -> None:
    async def scenario() -> None:
        (home.state_dir / "sealed").write_text("in the way")
        async with Daemon(home) as daemon:
            await daemon.until(lambda: daemon.state().sealed_problem is not None)
            assert b"fake-first" in home.env()
            assert codes(daemon) == []
            assert "was not written" in daemon.status()["sealed"]["problem"]
            assert len(daemon.conductor.bundles.sealing.warnings()) == 1
            (home.state_dir / "sealed").unlink()
            await daemon.refresh()
            await sealed(daemon)
            assert daemon.status()["sealed"]["problem"] == ""

    live(scenario())


def test_a_number_is_not_given_twice_where_the_journal_was_lost(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        (home.state_dir / "journal.json").unlink()
        async with Daemon(home) as daemon:
            await unsealed(daemon)
            assert daemon.generation() == 2

    live(scenario())


def test_a_copy_that_breaks_the_rules_of_today_says_that_it_is_the_copy(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        text = a_bundle(keys=SEALED).replace("min_length = 3", "min_length = 30")
        home.configure(text)
        async with Daemon(home) as daemon:
            await refused(daemon, "rule-broken")
            (failure,) = [each for each in daemon.status()["failures"] if each["code"] == "rule-broken"]
            assert failure["message"].startswith("the sealed copy of bot cannot be used: TOKEN")

    live(scenario())


def test_what_an_operator_holds_is_renewed_before_its_copy_gets_too_old(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await sealed(daemon)
            await overrule.hold(daemon.conductor.bundles, "bot", by="uid 0", reason="")
            home.vault.put("prod/bot", {"TOKEN": "fake-second"})
            before = (home.state_dir / "sealed" / "bot" / "1").read_bytes()
            await daemon.refresh()
            assert (home.state_dir / "sealed" / "bot" / "1").read_bytes() == before, "it is young"
            monkeypatch.setattr(choice, "is_to_be_renewed", lambda *_, **__: True)
            header = daemon.state().sealed[1]
            await daemon.refresh()
            await daemon.until(lambda: daemon.state().sealed[1] != header)
        home.reboot()
        home.vault.fail("prod/bot")
        async with Daemon(home) as daemon:
            await unsealed(daemon)
            assert b"fake-first" in home.env()

    live(scenario())


def test_a_worker_that_is_lost_as_it_seals_costs_the_copy_and_not_the_bundle(home: Home) -> None:
    async def scenario() -> None:
        daemon = Daemon(home)
        daemon.workers.lost_before = "sealed"
        async with daemon:
            await daemon.until(lambda: daemon.state().sealed_problem is not None)
            assert b"fake-first" in home.env()
            assert codes(daemon) == []
            daemon.workers.lost_before = None
            await daemon.refresh()
            await daemon.until(lambda: daemon.state().sealed_problem is None)

    live(scenario())


def test_a_worker_that_is_lost_as_it_unseals_is_tried_again_after_the_next_round(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        daemon = Daemon(home)
        daemon.workers.lost_before = "prepared"
        async with daemon:
            await refused(daemon, "worker-lost")
            daemon.workers.lost_before = None
            await daemon.refresh()
            await unsealed(daemon)

    live(scenario())


def test_the_age_of_what_was_unsealed_is_that_of_the_copy_also_after_a_restart(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        place = SealPlace(str(home.state_dir), f"file:{home.key}")
        secret = FetchedSecret(SecretRef("aws", "prod/bot"), "v1", None, b'{"TOKEN": "fake-first"}')
        copies.make(place, "bot", 1, [secret], now=time.time() - 5000)
        for _ in range(2):
            async with Daemon(home) as daemon:
                await unsealed(daemon)
                age_s = daemon.state().age_s(time.monotonic())
                assert age_s is not None
                assert 5000 <= age_s < 5000 + 60
                noted = confirmations.read(home.runtime_dir, "bot")
                assert noted is not None
                assert 5000 <= time.time() - noted.at < 5000 + 60

    live(scenario())


def test_ready_waits_for_the_copy_and_not_for_a_copy_that_is_refused(home: Home) -> None:
    async def scenario() -> None:
        await boot_in_an_outage(home)
        async with Daemon(home, ready=False) as daemon:
            attempted = daemon.conductor.bundles.unsealing.is_attempted
            bundles = daemon.conductor.config.bundles
            await daemon.until(lambda: attempted("bot", bundles))
            assert daemon.state().unsealed is not None
        home.reboot()
        home.key.write_bytes(KEY[::-1])
        async with Daemon(home, ready=False) as daemon:
            attempted = daemon.conductor.bundles.unsealing.is_attempted
            await daemon.until(lambda: attempted("bot", bundles))
            assert "sealed-key-wrong" in codes(daemon)

    live(scenario())


def test_no_secret_is_on_the_disk_in_clear(home: Home) -> None:
    async def scenario() -> None:
        home.vault.put("prod/bot", {"TOKEN": MARKER})
        async with Daemon(home) as daemon:
            await sealed(daemon)
            await daemon.refresh()
        assert home.copies == ["1"]
        assert list(Tree(home.state_dir).traces(needles(), Tally())) == []
        modes = {path.stat().st_mode & 0o777 for path in (home.state_dir / "sealed").rglob("*")}
        assert modes == {0o700, 0o600}

    live(scenario())
