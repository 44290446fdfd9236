"""The comparison that passes our writers catches each wrong one; systemd's part is in test_systemd.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from secretsd.refresh.formats.interface import Format
from secretsd.refresh.formats.registry import FORMATS
from tests.refresh.formats import readers
from tests.refresh.formats.comparing import Comparison, compare
from tests.refresh.formats.readers import READERS_OF
from tests.refresh.formats.values import corpus
from tests.refresh.formats.wrong_writers import ALTERING, QUOTING, WrongQuotes, WrongText, shell_trick

LINES = ("env", "docker", "dotenv", "node", "universal")
SHELLS = (readers.dash, readers.bash)


@pytest.fixture(scope="module")
def everything() -> list[bytes]:
    return corpus(500)


def name_of(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", "")


@pytest.mark.parametrize("quote", QUOTING, ids=name_of)
@pytest.mark.parametrize("dialect", LINES)
def test_wrong_quotes_are_caught_by_each_reader(
    dialect: str, quote: Callable[[str], str], everything: list[bytes]
) -> None:
    for reader in READERS_OF[dialect]:
        found = compare(WrongQuotes(dialect, quote), reader, everything, enough=1).mismatches
        # Shells take their own trick; systemd, which reads the same file, does not.
        assert bool(found) == (quote is not shell_trick or reader not in SHELLS), reader


@pytest.mark.parametrize("alter", ALTERING, ids=name_of)
@pytest.mark.parametrize("dialect", READERS_OF)
def test_an_altered_text_is_caught_by_each_reader(
    dialect: str, alter: Callable[[str], str], everything: list[bytes]
) -> None:
    for reader in READERS_OF[dialect]:
        assert compare(WrongText(dialect, alter), reader, everything, enough=1).mismatches, reader


class OneWrong:
    """Right but for one value among many."""

    def __init__(self, right: Format, wrong_value: bytes) -> None:
        self._right, self._wrong_value = right, wrong_value

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        return self._right.render(
            {name: b"other" if value == self._wrong_value else value for name, value in values.items()}
        )


@pytest.mark.parametrize("dialect", READERS_OF)
def test_one_bad_value_among_thousands_is_told_by_its_own_number(
    dialect: str, everything: list[bytes]
) -> None:
    number = everything.index(b"sk-fake-0123456789")
    for reader in READERS_OF[dialect]:
        result: Comparison = compare(OneWrong(FORMATS[dialect], everything[number]), reader, everything)
        assert [(each.index, each.read) for each in result.mismatches] == [(number, b"other")]
        assert result.exact + len(result.refused) == len(everything) - 1
        assert f"value {number}, b'sk-fake-0123456789', came back as b'other'" in str(result)
