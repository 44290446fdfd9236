"""EnvironmentFile= of the systemd of both Debian releases reads back what was written for it."""

from __future__ import annotations

import pytest

from secretsd.refresh.formats.registry import FORMATS
from tests.lab.host import Host
from tests.refresh.formats import wrong_writers
from tests.refresh.formats.comparing import compare
from tests.refresh.formats.readers import Systemd
from tests.refresh.formats.values import corpus
from tests.refresh.formats.wrong_writers import WrongQuotes, WrongText

pytestmark = pytest.mark.system

CAUGHT_BY_SYSTEMD = (
    WrongQuotes("env", wrong_writers.shell_trick),
    WrongQuotes("env", wrong_writers.json_quotes),
    WrongQuotes("env", wrong_writers.no_quotes),
    WrongQuotes("env", wrong_writers.single_quotes_unescaped),
    *(WrongText("env", alter) for alter in wrong_writers.ALTERING),
    WrongText("universal", wrong_writers.normalised),
)


def test_systemd_reads_back_every_value_and_catches_wrong_writers(host: Host) -> None:
    systemd, everything = Systemd(host), corpus(3_000)
    for wrong in CAUGHT_BY_SYSTEMD:
        assert compare(wrong, systemd, everything, enough=1).mismatches, wrong
    for dialect in ("env", "universal"):
        result = compare(FORMATS[dialect], systemd, everything)
        assert not result.mismatches, f"{dialect} on {host.suite}: {result}"
        assert result.exact > len(everything) // 2


@pytest.mark.parametrize(
    "value", [b"a\0b", b"a\xff", "a\ufdd0".encode(), "a\uffff".encode()], ids=["nul", "utf8", "fdd0", "ffff"]
)
def test_what_is_refused_for_systemd_would_have_stopped_the_unit_or_been_lost(
    host: Host, value: bytes
) -> None:
    systemd = Systemd(host)
    assert systemd({"": b"A='x'\n"}) == {"A": b"x"}
    assert systemd({"": b"A='" + value + b"'\nB='x'\n"}) != {"A": value, "B": b"x"}


def test_a_variable_in_braces_stays_one_word_and_a_bare_one_is_split(host: Host) -> None:
    host.put("/run/words/file", FORMATS["env"].render({"V": b"a  'b' c"})[""])
    host.put("/etc/systemd/system/words.service", _WORDS_UNIT)
    host.systemctl("daemon-reload")
    host.systemctl("start", "words")
    assert host.read("/run/words/out") == "[a  'b' c][a][b][c]"


_WORDS_UNIT = """
[Service]
Type=oneshot
EnvironmentFile=/run/words/file
ExecStart=/usr/bin/printf [%%s] ${V} $V
StandardOutput=truncate:/run/words/out
"""
