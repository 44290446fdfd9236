"""What each source promises alike, over places that a test can put secrets into."""

from __future__ import annotations

import base64
import json
import os
import traceback
from pathlib import Path
from typing import Any, Protocol

import pytest

from secretsd.config.sources import AwsSecretsManager, AwsSsm, EnvSource
from secretsd.config.sources import FileSource as FileTable
from secretsd.errors import FailureClass
from secretsd.model import CloudIdentity, FetchedSecret, SecretRef
from secretsd.refresh.messages import SourceJob
from secretsd.refresh.sources.interface import FetchFailure, Source
from secretsd.refresh.sources.registry import open_source
from tests.canary.records import everything_logged
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.lab.openbao import OpenBao
from tests.refresh.sources.conftest import soon
from tests.refresh.sources.scripted_aws import Answer, ScriptedAws, entry, error, ok, parameter
from tests.refresh.sources.vault.conftest import by_token

IDENTITY = CloudIdentity("fake-access-key", "fake-secret-key", None, 4e9, "iam-role")


class Place(Protocol):
    """Where a source of one kind finds its secrets."""

    room = 65_536  # bytes of the largest value

    def put(self, name: str, value: bytes) -> None: ...

    def open(self) -> Source: ...

    def payload(self, value: bytes) -> bytes:
        """What comes of a value that was put."""
        return value


class Directory(Place):
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, name: str, value: bytes) -> None:
        (self.directory / name).write_bytes(value)

    def open(self) -> Source:
        return open_source("any", SourceJob(FileTable(type="file", directory=self.directory)))


class Environment(Place):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def put(self, name: str, value: bytes) -> None:
        self._monkeypatch.setenv(name, os.fsdecode(value))

    def open(self) -> Source:
        return open_source("any", SourceJob(EnvSource(type="env")))


class Aws(Place):
    def __init__(self, server: ScriptedAws) -> None:
        self.values: dict[str, bytes] = {}
        self._server = server
        server.script = self._answer

    def put(self, name: str, value: bytes) -> None:
        self.values[name] = value

    def open(self) -> Source:
        table = AwsSecretsManager(
            type="aws-secretsmanager", region="us-east-1", endpoint_url=self._server.url
        )
        return open_source("any", SourceJob(table, identity=IDENTITY))

    def _answer(self, operation: str, params: dict[str, Any]) -> Answer:
        if operation == "BatchGetSecretValue":
            return error("AccessDeniedException")  # then each is asked for alone
        name = params["SecretId"]
        value = self.values.get(name)
        if not value:
            what = "Secrets Manager can't find the specified secret"
            return error("ResourceNotFoundException", what if value is None else f"{what} value for staging")
        try:
            return ok(entry(name, value.decode()))
        except UnicodeDecodeError:
            binary = entry(name, SecretBinary=base64.b64encode(value).decode())
            return ok({key: each for key, each in binary.items() if key != "SecretString"})


class Ssm(Place):
    def __init__(self, server: ScriptedAws) -> None:
        self.values: dict[str, str] = {}
        self._server = server
        server.script = self._answer

    def put(self, name: str, value: bytes) -> None:
        self.values[name] = value.decode()

    def open(self) -> Source:
        table = AwsSsm(type="aws-ssm", region="us-east-1", endpoint_url=self._server.url)
        return open_source("any", SourceJob(table, identity=IDENTITY))

    def _answer(self, _operation: str, params: dict[str, Any]) -> Answer:
        there = [name for name in params["Names"] if name in self.values]
        invalid = [name for name in params["Names"] if name not in there]
        values = [parameter(name, self.values[name]) for name in there]
        return ok({"Parameters": values, "InvalidParameters": invalid})


class Bao(Place):
    """A real OpenBao server, which holds objects only: a plain value is the one key of one."""

    room = 65_536 - len('{"VALUE": ""}')

    def __init__(self, server: OpenBao, directory: Path) -> None:
        self._server = server
        self._table = by_token(server, directory, server.token)
        for name in ("GOOD", "BIG", "OTHER", "EMPTY"):  # what another test has left there
            server.done("DELETE", f"secret/metadata/{name}")

    def put(self, name: str, value: bytes) -> None:
        self._server.put(name, self._object(value))

    def open(self) -> Source:
        return open_source("any", SourceJob(self._table))

    def payload(self, value: bytes) -> bytes:
        return json.dumps(self._object(value), ensure_ascii=False).encode()

    def _object(self, value: bytes) -> dict[str, Any]:
        if value.startswith(b'{"'):
            found: dict[str, Any] = json.loads(value)
            return found
        return {"VALUE": value.decode()} if value else {}


@pytest.fixture(params=["aws-secretsmanager", "aws-ssm", "vault", "file", "env"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: ScriptedAws
) -> Place:
    if request.param == "vault":
        return Bao(request.getfixturevalue("openbao"), tmp_path)
    if request.param == "aws-secretsmanager":
        return Aws(aws)
    if request.param == "aws-ssm":
        return Ssm(aws)
    return Directory(tmp_path) if request.param == "file" else Environment(monkeypatch)


def fetch(place: Place, *names: str, deadline: float | None = None) -> list[FetchedSecret | FetchFailure]:
    refs = [SecretRef("any", name) for name in names]
    return list(place.open().fetch(refs, deadline=soon() if deadline is None else deadline))


def told(place: Place, name: str) -> tuple[str, FailureClass]:
    (found,) = fetch(place, name)
    assert isinstance(found, FetchFailure)
    assert found.failure.secret == name
    assert found.failure.advice
    return found.failure.code, found.failure.failure_class


def test_each_ref_has_exactly_one_result_and_none_fails_for_anothers_sake(place: Place) -> None:
    place.put("GOOD", b'{"TOKEN": "fake"}')
    place.put("BIG", b"x" * 65_537)
    place.put("OTHER", b"fake-plain")
    found = fetch(place, "GOOD", "MISSING", "BIG", "OTHER", "GOOD", "MISSING")
    assert sorted(each.ref.id for each in found) == ["BIG", "GOOD", "MISSING", "OTHER"]
    values = {each.ref.id: each.payload for each in found if isinstance(each, FetchedSecret)}
    assert values == {"GOOD": b'{"TOKEN": "fake"}', "OTHER": place.payload(b"fake-plain")}
    assert fetch(place) == []


@pytest.mark.parametrize(
    "value",
    [
        b"x", b"fake \n", b"\xef\xbb\xbf{}", b"{}\r\n", "gr\u00fc\u00dfe\U0001f511".encode(), None,
    ],
    ids=["short", "line end", "BOM", "CRLF", "UTF-8", "64 KiB"],
)  # fmt: skip
def test_a_value_comes_byte_by_byte_with_a_version(place: Place, value: bytes | None) -> None:
    value = b"x" * place.room if value is None else value
    place.put("GOOD", value)
    (found,) = fetch(place, "GOOD")
    assert isinstance(found, FetchedSecret)
    assert found.payload == place.payload(value)
    assert found.version_id
    (again,) = fetch(place, "GOOD")
    assert isinstance(again, FetchedSecret)
    assert again.version_id == found.version_id


@pytest.mark.parametrize("place", ["aws-secretsmanager", "file", "env"], indirect=True)
def test_bytes_that_are_no_text_come_as_they_are_where_a_source_can_hold_them(place: Place) -> None:
    place.put("GOOD", b"\xff\xfe\x80")
    (found,) = fetch(place, "GOOD")
    assert isinstance(found, FetchedSecret)
    assert found.payload == b"\xff\xfe\x80"


def test_what_is_not_there_is_a_refusal(place: Place) -> None:
    assert told(place, "MISSING") == ("secret-missing", FailureClass.REFUSAL)


def test_what_is_empty_is_bad_data(place: Place) -> None:
    place.put("EMPTY", b"")
    assert told(place, "EMPTY") == ("secret-empty", FailureClass.DATA)


def test_what_is_larger_than_64_kib_is_bad_data(place: Place) -> None:
    place.put("BIG", b"x" * 65_537)
    assert told(place, "BIG") == ("too-large", FailureClass.DATA)


def test_nothing_is_begun_after_the_deadline(place: Place) -> None:
    place.put("GOOD", b"fake")
    found = fetch(place, "GOOD", "OTHER", deadline=soon(0.0))
    assert [each.ref.id for each in found] == ["GOOD", "OTHER"]
    for each in found:
        assert isinstance(each, FetchFailure)
        assert (each.failure.code, each.failure.failure_class) == ("unreachable", FailureClass.TRANSIENT)


def test_nothing_that_prints_holds_a_value(place: Place) -> None:
    place.put("GOOD", MARKER.encode())
    place.put("BIG", MARKER.encode() * 9000)
    with everything_logged() as log:
        found = fetch(place, "GOOD", "BIG", "MISSING")
    assert any(isinstance(each, FetchedSecret) and shows(each.payload) for each in found)
    assert not shows(repr(found) + log.getvalue() + repr(vars(place.open())))
    assert not any(shows(each.version_id) for each in found if isinstance(each, FetchedSecret))
    with pytest.raises(TypeError) as caught:
        found[0].__reduce__()
    assert not shows("".join(traceback.format_exception(caught.value)))
