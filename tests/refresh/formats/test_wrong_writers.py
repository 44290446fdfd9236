"""The comparison that passes our writers catches each wrong one; systemd's part is in test_systemd.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from secretsd.refresh.formats.interface import Format
from secretsd.refresh.formats.registry import FORMATS
from tests.refresh.formats import readers
from tests.refresh.formats.comparing import compare
from tests.refresh.formats.pairs import name_of, pairs
from tests.refresh.formats.readers import Reader
from tests.refresh.formats.values import TRAPS, generated
from tests.refresh.formats.wrong_writers import ALTERING, QUOTING, WrongQuotes, WrongText, shell_trick

LINES = ("env", "docker", "dotenv", "node", "universal")
SHELLS = (readers.dash, readers.bash)


@pytest.fixture(scope="module")
def everything() -> list[bytes]:
    return [*TRAPS, *generated(500)]


@pytest.mark.parametrize("quote", QUOTING, ids=name_of)
@pytest.mark.parametrize(("dialect", "reader"), pairs(dialects=LINES), ids=name_of)
def test_wrong_quotes_are_caught_by_each_reader(
    dialect: str, reader: Reader, quote: Callable[[str], str], everything: list[bytes]
) -> None:
    found = compare(WrongQuotes(dialect, quote), reader, everything, enough=1).mismatches
    # Shells take their own trick; systemd, which reads the same file, does not.
    assert bool(found) == (quote is not shell_trick or reader not in SHELLS)


@pytest.mark.parametrize("alter", ALTERING, ids=name_of)
@pytest.mark.parametrize(("dialect", "reader"), pairs(), ids=name_of)
def test_an_altered_text_is_caught_by_each_reader(
    dialect: str, reader: Reader, alter: Callable[[str], str], everything: list[bytes]
) -> None:
    assert compare(WrongText(dialect, alter), reader, everything, enough=1).mismatches


class OneWrong:
    """Right but for one value among many."""

    def __init__(self, right: Format, wrong_value: bytes) -> None:
        self._right, self._wrong_value = right, wrong_value

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        return self._right.render(
            {name: b"other" if value == self._wrong_value else value for name, value in values.items()}
        )


@pytest.mark.parametrize(("dialect", "reader"), pairs(), ids=name_of)
def test_one_bad_value_among_hundreds_is_told_by_its_own_number(
    dialect: str, reader: Reader, everything: list[bytes]
) -> None:
    number = everything.index(b"sk-fake-0123456789")
    result = compare(OneWrong(FORMATS[dialect], everything[number]), reader, everything)
    assert [(each.index, each.read) for each in result.mismatches] == [(number, b"other")]
    assert result.exact + len(result.refused) == len(everything) - 1
    assert f"value {number}, b'sk-fake-0123456789', came back as b'other'" in str(result)
