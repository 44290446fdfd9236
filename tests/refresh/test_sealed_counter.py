"""A disk that is set back while the TPM's counter is not. Against swtpm, through the real tpm2-tools."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secretsd.cli import sealkey
from secretsd.config.models import Bundle
from secretsd.errors import FailureError, UsageError
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.messages import SealPlace
from secretsd.refresh.sealed import copies, counter
from tests.refresh.fakes import bundle

REF = SecretRef("aws", "prod/bot")
NOW = 1_800_000_000.0
BOT: Bundle = bundle(sealed_copy={"max_age": "7d"})


def secret(version: str) -> FetchedSecret:
    return FetchedSecret(REF, version, None, b"fake-" + version.encode())


def free_port_pair() -> int:
    """A port whose next one is free, too: swtpm's clients look for its control there."""
    for port in range(23210, 24000, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise RuntimeError("no two free ports beside each other")


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A TPM of software, for tpm2-tools by their environment; yields the value of that."""
    if shutil.which("swtpm") is None or shutil.which("tpm2_nvread") is None:
        pytest.skip("a TPM of software is needed: apt-get install swtpm tpm2-tools")
    state, port = tmp_path_factory.mktemp("tpm"), free_port_pair()
    command = [
        "swtpm",
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={state}",
        "--flags",
        "not-need-init,startup-clear",
    ]
    command += ["--server", f"type=tcp,port={port},disconnect", "--ctrl", f"type=tcp,port={port + 1}"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"swtpm:host=127.0.0.1,port={port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "swtpm does not come up"
            time.sleep(0.05)


@pytest.fixture
def place(tpm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SealPlace:
    monkeypatch.setenv("TPM2TOOLS_TCTI", tpm)
    sealkey.define_counter(force=True)
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_bytes(bytes(range(32)))
    (tmp_path / "state").mkdir()
    return SealPlace(str(tmp_path / "state"), f"file:{key}", sealkey.COUNTER)


def seal(place: SealPlace, version: str, generation: int, name: str = "bot") -> None:
    copies.make(place, name, generation, [secret(version)], now=NOW)


def opened(place: SealPlace, generation: int, name: str = "bot") -> str:
    """The version that the copy gives, or the code of what refuses it."""
    try:
        return copies.take(place, name, BOT, generation, now=NOW).fetched[REF].version_id
    except FailureError as error:
        return error.code


def image(place: SealPlace, name: str) -> Path:
    """A copy of the disk as it is now."""
    return Path(shutil.copytree(place.state_dir, Path(place.state_dir).with_name(name)))


def restore(place: SealPlace, image_of_it: Path) -> None:
    shutil.rmtree(place.state_dir)
    shutil.copytree(image_of_it, place.state_dir)


def test_an_older_disk_is_refused_and_the_present_one_opens(place: SealPlace) -> None:
    seal(place, "v1", 1)
    before = image(place, "before")
    assert opened(place, 1) == "v1"
    seal(place, "v2", 2)
    assert opened(place, 2) == "v2"
    now = image(place, "now")
    restore(place, before)
    assert opened(place, 1) == "sealed-rolled-back"
    restore(place, now)
    assert opened(place, 2) == "v2"
    assert opened(place, 1) == "v1", "a copy that an operator may roll back to is still there"


def test_a_rotation_of_one_bundle_takes_no_copy_from_another(place: SealPlace) -> None:
    seal(place, "v1", 1, "other")
    for number in range(1, 4):
        seal(place, f"v{number}", number)
    assert opened(place, 1, "other") == "v1"
    assert opened(place, 3) == "v3"


def test_the_same_versions_once_more_do_not_wear_the_counter_out(place: SealPlace) -> None:
    seal(place, "v1", 1)
    before = counter.read(sealkey.COUNTER)
    for _ in range(3):
        seal(place, "v1", 1)
        copies.renew(place, "bot", 1, now=NOW + 1)
    assert counter.read(sealkey.COUNTER) == before
    assert opened(place, 1) == "v1"
    seal(place, "v2", 1)
    assert counter.read(sealkey.COUNTER) == before + 1


def test_after_an_older_disk_the_source_makes_it_good_again(place: SealPlace) -> None:
    seal(place, "v1", 1)
    before = image(place, "before")
    seal(place, "v2", 2)
    restore(place, before)
    seal(place, "v2", 2)
    assert opened(place, 2) == "v2"
    assert opened(place, 1) == "sealed-rolled-back"


def test_a_crash_between_ledger_and_counter_loses_no_copy_and_is_caught_up(
    place: SealPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(place, "v1", 1)

    def crash(_place: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(counter, "increment", crash)
        with pytest.raises(KeyboardInterrupt):
            seal(place, "v2", 2)
    crashed = image(place, "crashed")
    assert opened(place, 2) == "v2"
    seal(place, "v3", 3)
    restore(place, crashed)
    assert opened(place, 2) == "sealed-rolled-back"


def test_a_ledger_that_is_altered_or_gone_vouches_for_nothing(place: SealPlace) -> None:
    seal(place, "v1", 1)
    ledger = Path(place.state_dir) / "sealed-ledger" / "ledger"
    content = ledger.read_bytes()
    assert b"prod/bot" not in content
    for wrong in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        ledger.write_bytes(wrong)
        assert opened(place, 1) == "sealed-rolled-back"
    ledger.write_bytes(content)
    assert opened(place, 1) == "v1"
    ledger.unlink()
    assert opened(place, 1) == "sealed-rolled-back"


def test_a_copy_of_a_time_without_counter_is_refused_until_its_source_has_answered(place: SealPlace) -> None:
    seal(replace(place, counter=None), "v1", 1)
    assert opened(replace(place, counter=None), 1) == "v1"
    assert opened(place, 1) == "sealed-rolled-back"
    seal(place, "v1", 1)
    assert opened(place, 1) == "v1"


def test_a_tpm_that_does_not_answer_is_named_and_nothing_is_opened(
    place: SealPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(place, "v1", 1)
    with monkeypatch.context() as broken:
        broken.setenv("TPM2TOOLS_TCTI", "swtpm:host=127.0.0.1,port=1")
        assert opened(place, 1) == "sealed-no-counter"
    with monkeypatch.context() as broken:
        broken.setenv("PATH", "/nowhere")
        assert opened(place, 1) == "sealed-no-counter"
    assert opened(place, 1) == "v1"


def test_a_counter_that_is_there_stays_without_force_and_a_new_one_is_never_lower(place: SealPlace) -> None:
    seal(place, "v1", 1)
    value = counter.read(sealkey.COUNTER)
    with pytest.raises(UsageError, match="already"):
        sealkey.define_counter(force=False)
    assert counter.read(sealkey.COUNTER) == value
    sealkey.define_counter(force=True)
    assert counter.read(sealkey.COUNTER) > value
