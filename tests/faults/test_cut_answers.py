"""A real answer of each kind of source, cut at each byte: the worker makes the good bundle of it, or none.

With SECRETSD_SOAK=1 (make soak) at every byte, else at some that are the same each time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from secretsd.config.load import load
from secretsd.config.models import Config
from secretsd.errors import FailureClass
from secretsd.model import Candidate, Rejected
from secretsd.refresh.files import published
from secretsd.refresh.rounds import Rehearsal, Rounds
from secretsd.refresh.workers import Workers
from tests.faults.kinds import Kind, ParameterStore, SecretsManager, Vault, bundle
from tests.lab import dialects
from tests.lab.aws import FakeAws
from tests.lab.faults import Cut, CutWhole
from tests.lab.openbao import OpenBao
from tests.lab.proxy import FaultProxy

EVERY = 1 if os.environ.get("SECRETSD_SOAK") == "1" else 97
_OPERATIONS = {
    "aws": "BatchGetSecretValue",
    "parameters": "GetParameters",
    "vault": "GET /v1/secret/data/vault/one",
}


@pytest.fixture(params=list(_OPERATIONS))
def kind(request: pytest.FixtureRequest, tmp_path: Path, aws: FakeAws, openbao: OpenBao) -> Iterator[Kind]:
    """Each kind of source in turn, over plain HTTP, where what is cut is what is seen."""
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy.local(aws.address))
        match request.param:
            case "aws":
                yield SecretsManager("aws", aws, proxy)
            case "parameters":
                yield ParameterStore("parameters", aws, proxy)
            case _:
                token = tmp_path / "token"
                token.write_text(openbao.token)
                token.chmod(0o600)
                address = ("127.0.0.1", openbao.port)
                proxy = stack.enter_context(FaultProxy.local(address, dialect=dialects.Vault()))
                yield Vault("vault", openbao, proxy, None, token)


@pytest.mark.parametrize("form", [Cut, CutWhole], ids=["length of the whole", "length of the part"])
def test_an_answer_cut_at_any_byte_makes_no_bad_bundle(
    kind: Kind, form: type[Cut | CutWhole], tmp_path: Path, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, setting in aws.environment.items():
        monkeypatch.setenv(name, setting)
    asyncio.run(_at_each_byte(kind, form, _config(tmp_path, kind)))


async def _at_each_byte(kind: Kind, form: type[Cut | CutWhole], config: Config) -> None:
    rounds, operation = Rounds(Workers()), _OPERATIONS[kind.name]
    try:
        kind.rotate(1)
        other = await _made(rounds, config)
        kind.rotate(2)
        good = await _made(rounds, config)
        assert isinstance(good, Candidate)
        assert isinstance(other, Candidate)
        assert good.digest != other.digest, "another bundle would be told"
        length = kind.proxy.last_body_bytes
        for at in range(0, length, EVERY):
            kind.proxy.forget_calls()
            kind.proxy.set(form(at), times=1, only=operation)
            # On a busy machine a worker may come to its end before it has asked at all.
            while not kind.proxy.counts[operation]:
                found = await _made(rounds, config)
            if isinstance(found, Candidate):
                assert found.digest == good.digest, at
            else:
                assert {each.failure_class for each in found.failures} == {FailureClass.TRANSIENT}, at
    finally:
        await rounds.workers.close()


async def _made(rounds: Rounds, config: Config) -> Candidate | Rejected:
    rehearsal = Rehearsal()
    await rounds.run(config, config.bundles, rehearsal)
    (found,) = rehearsal.results.values()
    return found


def _config(tmp_path: Path, kind: Kind) -> Config:
    places = f'runtime_dir = "{tmp_path}/run"\nstate_dir = "{tmp_path}/state"\n'
    path = tmp_path / "secretsd.toml"
    path.write_text(f"[daemon]\n{places}{kind.source(kind.proxy.url)}{bundle(kind)}")
    published.prepare(tmp_path / "run")
    return load(path)
