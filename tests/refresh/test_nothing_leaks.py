"""A whole life of a conductor with marked secrets: what it keeps, logs, writes and answers shows none."""

from __future__ import annotations

import pickle

import pytest

from secretsd.errors import FailureClass
from tests.canary.records import everything_logged
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.refresh.daemon import Daemon, Home, a_bundle, live
from tests.refresh.fakes import FakeVault


def test_nothing_the_conductor_keeps_logs_or_answers_holds_a_secret(
    home: Home, vault: FakeVault, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["good", "short", "nested", "unwritable", "withdrawn", "plain"]
    more = {"withdrawn": 'on_refusal = "withdraw"'}
    home.configure(*(a_bundle(name, secret=name, keys=more.get(name, "")) for name in names))
    payloads: dict[str, object] = {
        "good": {"TOKEN": MARKER, "UNUSED": MARKER}, "short": {"TOKEN": "ab", "UNUSED": MARKER},
        "nested": {"TOKEN": [MARKER]}, "unwritable": {"TOKEN": f"{MARKER}\0"}, "withdrawn": {"TOKEN": MARKER},
        "plain": MARKER.encode(),
    }  # fmt: skip
    for name, payload in payloads.items():
        vault.put(name, payload)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded("good")
            vault.put("good", {"TOKEN": f"{MARKER}-2"})
            vault.fail("withdrawn", FailureClass.REFUSAL)
            await daemon.refresh(*names)
            await daemon.loaded("good", 2)
            steps = await daemon.conductor.dry_run(names)
            kept = [
                repr(steps),
                repr(vars(daemon.conductor)),
                repr(daemon.conductor.states),
                repr(vars(daemon.conductor._rounds)),
                repr([daemon.status(name) for name in names]),
                repr(helper.requests),
                pickle.dumps(daemon.conductor.states),
                (home.state_dir / "journal.json").read_bytes(),
                *(path.read_bytes() for path in home.runtime_dir.rglob("record.json")),
            ]
            assert [index for index, text in enumerate(kept) if shows(text)] == []

    with everything_logged() as log:
        live(scenario())
    assert "bundle was not refreshed" in log.getvalue()
    assert "published" in log.getvalue()
    assert not shows(log.getvalue())
    assert not shows("".join(capfd.readouterr()))
    assert shows(home.env("good")), "it was there to be found"
