"""What each writer wrote, the programs that it is for read back byte for byte; systemd in test_systemd.py.

The same comparison fails every wrong writer: see test_wrong_writers.py.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import dotenv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secretsd.refresh.formats.interface import UnwritableError
from secretsd.refresh.formats.registry import FORMATS
from tests.refresh.formats import readers
from tests.refresh.formats.comparing import compare
from tests.refresh.formats.readers import READERS_OF, Reader
from tests.refresh.formats.values import PEM, corpus, values

PAIRS = [(dialect, reader) for dialect, those in READERS_OF.items() for reader in those]
# Those that live in this process: fast enough for hypothesis to shrink what it finds.
IN_PROCESS = [pair for pair in PAIRS if pair[1] not in (readers.dash, readers.bash, readers.node)]


def name_of(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", "")


@pytest.fixture(scope="module")
def everything() -> list[bytes]:
    return corpus(3_000)


@pytest.mark.parametrize(("dialect", "reader"), PAIRS, ids=name_of)
def test_every_value_is_read_back_exactly_or_refused(
    dialect: str, reader: Reader, everything: list[bytes]
) -> None:
    result = compare(FORMATS[dialect], reader, everything)
    assert not result.mismatches, str(result)
    assert result.exact + len(result.refused) == len(everything)
    assert result.exact > len(everything) // 2, "a writer that refuses what it could write is of no use"


@pytest.mark.parametrize(("dialect", "reader"), IN_PROCESS, ids=name_of)
@settings(deadline=None, max_examples=150)
@given(several=st.lists(values, min_size=1, max_size=4))
@example(several=[PEM.encode()])
def test_no_value_leaks_into_its_neighbours(dialect: str, reader: Reader, several: list[bytes]) -> None:
    named = {f"K{number}": value for number, value in enumerate(several)}
    try:
        written = FORMATS[dialect].render(named)
    except UnwritableError as error:
        for name in error.reasons:
            del named[name]
        written = FORMATS[dialect].render(named)
    assert reader(written) == named


def test_every_dialect_has_a_reader() -> None:
    assert READERS_OF.keys() == FORMATS.keys()


def test_node_and_python_dotenv_keep_a_variable_that_is_set_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot that starts itself anew with its old environment keeps the old secret: the README says so."""
    file = tmp_path / "file"
    file.write_bytes(FORMATS["universal"].render({"KEY": b"fake-new"})[""])
    argv = [readers.NODE, f"--env-file={file}", "-p", "process.env.KEY"]
    ran = subprocess.run(argv, env={"KEY": "fake-old"}, check=True, capture_output=True)
    assert ran.stdout == b"fake-old\n"
    monkeypatch.setenv("KEY", "fake-old")
    dotenv.load_dotenv(file)
    assert os.environ["KEY"] == "fake-old"
    dotenv.load_dotenv(file, override=True)
    assert os.environ["KEY"] == "fake-new"
