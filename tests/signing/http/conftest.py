"""A signer with software keys, and a real OpenBao beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.signing.http import real_signer as real_signer_module
from tests.signing.http.fake_desk import FakeAdministration, FakeDesk, routes
from tests.signing.http.openbao import OpenBao
from tests.signing.http.real_signer import RealSigner
from tests.signing.http.serving import Served, serving


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def signer(desk: FakeDesk, tmp_path: Path) -> Iterator[Served]:
    with serving(routes(desk, FakeAdministration()), tmp_path / "signer.sock") as served:
        yield served


@pytest.fixture(scope="session")
def real_signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSigner]:
    """The daemon itself, with SoftHSM."""
    with real_signer_module.running(tmp_path_factory.mktemp("signer")) as signer:
        yield signer


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """Its Transit has the keys of the fake desk, by the same names."""
    with OpenBao.running(tmp_path_factory.mktemp("openbao")) as server:
        yield server
