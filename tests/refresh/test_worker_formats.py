"""What a worker makes of a bundle's outputs: every format in one generation, or every reason why not."""

from __future__ import annotations

import json
import os
import pwd
import stat
from pathlib import Path

import pytest

from secretsd.refresh import messages
from secretsd.refresh.files import drift, published
from secretsd.refresh.formats.registry import FORMATS
from tests.refresh.fakes import FakeVault, bundle, prepare
from tests.refresh.test_worker import MARKER, failures, kinds, working

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to other users")

KEYSTORE = b"PK\x03\x04\0\xff\xfe" + MARKER.encode() + b"\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return prepare(tmp_path / "run")


def outputs(*formats: str) -> list[dict[str, str]]:
    return [{"path": f"{name}.out", "format": name} for name in formats]


def test_one_generation_holds_the_bundle_in_every_format(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": "it's", "OTHER": "a b"})
    both = bundle(variables={"TOKEN": {}, "OTHER": {}}, outputs=outputs(*FORMATS))
    with working(run, bot=both) as conversation:
        *_, message = conversation.hear_all()
    assert isinstance(message, messages.Published)
    found = {
        str(path.relative_to(run / "bot")): path.read_text() for path in (run / "bot").rglob("*.out/*")
    } | {path.name: path.read_text() for path in (run / "bot").iterdir() if path.is_file()}
    assert found == {
        "env.out": "OTHER='a b'\nTOKEN='it'\"'\"'s'\n",
        "docker.out": "OTHER=a b\nTOKEN=it's\n",
        "dotenv.out": "OTHER='a b'\nTOKEN=\"it's\"\n",
        "node.out": "OTHER='a b'\nTOKEN=`it's`\n",
        "universal.out": "OTHER='a b'\nTOKEN=\"it's\"\n",
        "json.out": json.dumps({"OTHER": "a b", "TOKEN": "it's"}, indent=1) + "\n",
        "files.out/OTHER": "a b",
        "files.out/TOKEN": "it's",
    }
    assert {file.path for file in message.record.files} == found.keys()


def test_a_binary_secret_is_published_as_a_file_with_its_very_bytes(run: Path, vault: FakeVault) -> None:
    vault.put("keystore", KEYSTORE)
    binary = bundle(
        secrets=[{"source": "aws", "id": "keystore", "variable": "KEYSTORE"}],
        variables={},
        outputs=[{"path": "secrets", "format": "files"}],
    )
    with working(run, bot=binary) as conversation:
        assert kinds(conversation.hear_all()) == ["prepared", "published"]
    assert os.listdir(run / "bot" / "secrets") == ["KEYSTORE"]
    assert (run / "bot" / "secrets" / "KEYSTORE").read_bytes() == KEYSTORE
    record, files = published.read_copy(run, "bot", 1)
    assert [(file.path, file.content) for file in files] == [("secrets/KEYSTORE", KEYSTORE)]
    assert drift.is_intact(run, record)


def test_each_output_says_what_it_cannot_hold_and_nothing_is_published(run: Path, vault: FakeVault) -> None:
    vault.put("keystore", KEYSTORE)
    vault.put("prod/bot", {"TOKEN": f"{MARKER}\n"})
    several = bundle(
        secrets=[
            {"source": "aws", "id": "keystore", "variable": "KEYSTORE"},
            {"source": "aws", "id": "prod/bot"},
        ],
        outputs=outputs("files", "json", "docker"),
    )
    with working(run, bot=several) as conversation:
        (heard,) = conversation.hear_all()
    assert isinstance(heard, messages.Failed)
    assert failures([heard], "bot") == ["unwritable"] * 3
    assert [failure.message for failure in heard.rejected.failures] == [
        "KEYSTORE from keystore is not UTF-8, which JSON has to be (format json, output json.out)",
        "KEYSTORE from keystore holds a NUL byte, which no environment can"
        " (format docker, output docker.out)",
        "TOKEN from prod/bot holds a line feed, and a file for docker has one line a variable"
        " (format docker, output docker.out)",
    ]
    assert {failure.variable for failure in heard.rejected.failures} == {"KEYSTORE", "TOKEN"}
    assert not (run / "bot").exists()
    assert MARKER not in conversation.raw.decode()


def test_a_directory_of_files_follows_what_the_secret_holds(run: Path, vault: FakeVault) -> None:
    optional = bundle(
        variables={"TOKEN": {}, "OTHER": {"required": False}},
        outputs=[{"path": "in/secrets", "format": "files"}],
    )
    for generation, value in enumerate(({"TOKEN": "a", "OTHER": "b"}, {"TOKEN": "a"}), start=1):
        vault.put("prod/bot", value)
        with working(run, bot=optional) as conversation:
            conversation.hear_all(generation=generation)
        assert sorted(os.listdir(run / "bot" / "in" / "secrets")) == sorted(value)


@needs_root
def test_files_are_the_owners_and_their_directory_is_not(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    given = bundle(owner="nobody", outputs=[{"path": "in/secrets", "format": "files"}])
    with working(run, foreground=False, bot=given) as conversation:
        assert kinds(conversation.hear_all()) == ["prepared", "published"]
    nobody = pwd.getpwnam("nobody")
    file = (run / "bot" / "in" / "secrets" / "TOKEN").stat()
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (nobody.pw_uid, nobody.pw_gid, 0o600)
    for path in (run / "bot" / "in", run / "bot" / "in" / "secrets"):
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, nobody.pw_gid, 0o750)


def test_a_thousand_files_are_one_generation(run: Path, vault: FakeVault) -> None:
    many = {f"KEY_{number:04}": f"fake-{number}" for number in range(1000)}
    vault.put("prod/bot", many)
    everything = bundle(variables={}, import_all=True, outputs=[{"path": "secrets", "format": "files"}])
    with working(run, bot=everything) as conversation:
        assert kinds(conversation.hear_all()) == ["prepared", "published"]
    found = {path.name: path.read_text() for path in (run / "bot" / "secrets").iterdir()}
    assert found == many
