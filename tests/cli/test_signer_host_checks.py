"""What doctor says of the signer's units and of the PIN's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from secretsd.cli import local_checks
from secretsd.cli.signer_host_checks import UNITS, credential, host, stopped_by_a_mistake, units
from secretsd.config.signer import Signer
from secretsd.errors import ExitCode

RUNNING = {"ActiveState": "active", "UnitFileState": "enabled"}
MARKER = "fake-pin-never-printed"


def test_units_that_are_down_or_will_not_come_back() -> None:
    (check,) = units(dict.fromkeys(UNITS, RUNNING))
    assert check.state == "ok"
    (check,) = units({**dict.fromkeys(UNITS, RUNNING), UNITS[0]: {"ActiveState": "failed"}})
    assert (check.state, check.code) == ("fail", ExitCode.TRY_AGAIN)
    assert UNITS[0] in check.detail
    assert UNITS[1] not in check.detail
    (check,) = units({**dict.fromkeys(UNITS, RUNNING), UNITS[2]: RUNNING | {"UnitFileState": "disabled"}})
    assert (check.state, check.fix) == ("warn", "systemctl enable secretsd-signer")
    assert list(units({unit: {} for unit in UNITS})) == [], "systemd does not answer"


def test_a_signer_that_a_mistake_stopped_is_told_beside_the_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for state, count in (("failed", 1), ("active", 0), ("inactive", 0)):
        monkeypatch.setattr(local_checks, "shown", lambda *_, state=state: {"ActiveState": state})
        found = list(stopped_by_a_mistake())
        assert len(found) == count, state
        assert all(check.fix.endswith("systemctl restart secretsd-signer") for check in found)


def test_the_pins_file_is_judged_by_its_mode_and_never_shown(tmp_path: Path) -> None:
    place, sealed = tmp_path / "credstore", tmp_path / "credstore.encrypted"
    (check,) = credential("hsm-pin", (place,), sealed)
    assert check.state == "warn"
    assert f"put it into {place}/hsm-pin" in check.fix
    place.mkdir()
    file = place / "hsm-pin"
    file.write_text(MARKER)
    for mode, state in ((0o644, "fail"), (0o640, "fail"), (0o600, "ok"), (0o400, "ok")):
        file.chmod(mode)
        (check,) = credential("hsm-pin", (place,), sealed)
        assert check.state == state, oct(mode)
        assert MARKER not in repr(check)
    file.unlink()
    sealed.mkdir()
    (sealed / "hsm-pin").write_text("sealed")
    assert list(credential("hsm-pin", (place,), sealed)) == []


def test_a_signer_in_the_foreground_needs_no_units(tmp_path: Path) -> None:
    settings = {"module": f"{tmp_path}/m.so", "token": "t", "pin": "credential:hsm-pin"}
    sockets = {"socket": f"{tmp_path}/s", "seqpacket_socket": f"{tmp_path}/q"}
    assert list(host(Signer.model_validate(settings | sockets))) == []
