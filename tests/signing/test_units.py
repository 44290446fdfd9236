from __future__ import annotations

import pytest

from secretsd.signing.units import expected_cgroup, unified_cgroup, unit_at

PLACES = {
    "bot.service": "/system.slice/bot.service",
    "trading-bot.service": "/system.slice/trading-bot.service",
    "bot@live.service": "/system.slice/system-bot.slice/bot@live.service",
    "trading-bot@a-b.service": r"/system.slice/system-trading\x2dbot.slice/trading-bot@a-b.service",
    # What systemd-escape(1) makes of a "-" in a template's own name is escaped once more in the slice's.
    r"a\x2db@c.service": r"/system.slice/system-a\x5cx2db.slice/a\x2db@c.service",
    # Names that the kernel's own files could have, as cgroup-util's cg_needs_escape has them.
    "cgroup.service": "/system.slice/_cgroup.service",
    "io.service": "/system.slice/_io.service",
    "memory.service": "/system.slice/_memory.service",
    "_odd.service": "/system.slice/__odd.service",
    "pids-x.service": "/system.slice/pids-x.service",
}


@pytest.mark.parametrize("unit", PLACES)
def test_a_service_is_where_systemd_puts_it(unit: str) -> None:
    assert expected_cgroup(unit) == PLACES[unit]
    assert unit_at(PLACES[unit]) == unit


NOT_THE_BOT = [
    "/user.slice/user-1000.slice/user@1000.service/app.slice/bot.service",
    "/user.slice/user-1000.slice/user@1000.service/system.slice/bot.service",
    "/system.slice/other.service/bot.service",  # a group that other.service made below its own (Delegate=)
    "/system.slice/other.service/system.slice/bot.service",
    "/system.slice/bot.service/payload",
    "/system.slice/bot.service/",
    "/system.slice//bot.service",
    "/system.slice/system-bot.slice/bot.service",
    "/system.slice/bot.slice/bot.service",
    "/trading.slice/bot.service",
    "/machine.slice/bot.service",
    "/bot.service",
    "bot.service",
    "/../system.slice/bot.service",  # seen from another cgroup namespace
    "/../../system.slice/bot.service",
    "/system.slice/../system.slice/bot.service",
    "/system.slice/_bot.service",
    "/system.slice/docker-0123.scope",
    "/system.slice/bot.socket",
    "/system.slice/.service",
    "/system.slice/bot.service (deleted)",
    "/system.slice/bot@live.service",  # Slice= of an instance: not where systemd puts it by itself
    "/system.slice/system-other.slice/bot@live.service",
    "/system.slice/system-bot.slice/bot@.service",
    "/system.slice/system-trading-bot.slice/trading-bot@live.service",
    "/system.slice/system-bot.slice/sub.slice/bot@live.service",
    "/system.slice/bot\n.service",
    "/",
    "",
]


@pytest.mark.parametrize("cgroup", NOT_THE_BOT)
def test_no_other_place_is_a_unit_s(cgroup: str) -> None:
    found = unit_at(cgroup)
    assert found not in ("bot.service", "bot@live.service", "trading-bot@live.service")
    assert found is None


def test_the_unified_hierarchy_s_line_counts_alone() -> None:
    hybrid = "9:name=systemd:/system.slice/bot.service\n0::/\n"
    assert unified_cgroup(hybrid) == "/"
    assert unified_cgroup("1:name=systemd:/system.slice/bot.service\n") is None
    assert unified_cgroup("0::/system.slice/bot.service\n") == "/system.slice/bot.service"
    assert unified_cgroup("0::/system.slice/bot.service (deleted)\n") is None
    assert unified_cgroup("0::/a\n0::/system.slice/bot.service\n") is None
    assert unified_cgroup("10::/system.slice/bot.service\n") is None
    assert unified_cgroup("") is None
