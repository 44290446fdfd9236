"""The figures of signing in small: everybody is answered by everything. `make bench` judges them."""

from __future__ import annotations

import pytest

from tests.bench import signing, signing_stand_in
from tests.bench.figures import table

_CELL_S = 0.06
_STAND_IN_S = 1.0


def test_every_server_answers_every_client(capsys: pytest.CaptureFixture[str]) -> None:
    figures = signing.measure(_CELL_S)
    printed = capsys.readouterr().out
    print(printed, table(figures), sep="")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()[2:] if line
    ]
    # p11-kit has no Ed25519, OpenBao no secp256k1; strict is measured once.
    assert len(rows) == 5 * 5 + 1 + 4
    for row in rows:
        with_64 = row[1] == "library alone"
        assert all(float(cell) > 0 for cell in row[2 : -3 if with_64 else None]), row


def test_a_stand_in_hsm_is_kept_busy() -> None:
    figures = {figure.what: figure for figure in signing_stand_in.stand_in(_STAND_IN_S)}
    print(table(figures.values()))
    # One session alone would do 650 a second; how many more the machine decides.
    assert figures["HSM of 1.5 ms a call, native: rate"].value > 2000
