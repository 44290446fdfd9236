"""The figures of signing in small: everybody is answered by everything. `make bench` judges them."""

from __future__ import annotations

import pytest

from tests.bench import signing
from tests.bench.figures import table
from tests.bench.signing_keys import HMAC

_CELL_S = 0.5
# The library alone with 64 threads is not measured.
_WITHOUT_64 = "library alone"


def test_every_server_answers_every_client(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {figure.what: figure for figure in signing.measure(_CELL_S, (HMAC,))}
    printed = capsys.readouterr().out
    print(printed, table(figures.values()), sep="")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in printed.splitlines()]
    measured = [row for row in rows if row[0] == HMAC.name]
    assert len(measured) == 7 + 7, "of OpenBao or p11-kit, one is not installed"
    for row in measured:
        assert all(float(cell) > 0 for cell in row[2:8]), row
        assert row[1] == _WITHOUT_64 or all(float(cell) > 0 for cell in row[8:]), row
    # One session alone would do 650 a second; how many more the machine decides.
    assert figures["HSM of 1.5 ms a call, native: rate"].value > 2000
