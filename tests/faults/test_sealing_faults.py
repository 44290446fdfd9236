"""A sealed copy killed, or met by an error, at each system call of its write: the old or the new, whole."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from secretsd.model import FetchedSecret, SealedHeader, SecretRef, SecretVersion
from secretsd.refresh.sealed import store
from secretsd.refresh.sealed.box import AlteredError, SealKey, open_sealed, seal
from tests.bench import injection
from tests.bench.injection import ERRNOS, KILL, Call, Subject

KEY = SealKey.of(bytes(range(32)))
REF = SecretRef("aws", "prod/bot")
# With SECRETSD_SOAK=1 (make soak) every errno at each call, else one of them, another at each.
ERRORS_OF_A_CALL = len(ERRNOS) if os.environ.get("SECRETSD_SOAK") == "1" else 1


@pytest.fixture(autouse=True)
def can_inject() -> None:
    if (reason := injection.missing()) is not None:
        pytest.skip(reason)


def copy(version: str) -> bytes:
    versions = (SecretVersion(REF, version, None),)
    header = SealedHeader("here", "bot", 1, versions, sealed_at=1.0, confirmed_at=1.0, key_id=KEY.key_id)
    return seal(KEY, header, [FetchedSecret(REF, version, None, b"fake")])


OLD, NEW = copy("old"), copy("new")


def found(state_dir: Path) -> str:
    """The version that a boot would find; "" for none. Raises: AlteredError for anything in between."""
    try:
        return open_sealed(KEY, store.read(state_dir, "bot", 1))[1][0].version_id
    except FileNotFoundError:
        return ""


def subject(state_dir: Path) -> Subject:
    def write() -> int:
        try:
            store.write(state_dir, "bot", 1, NEW)
        except (OSError, MemoryError):
            return 1
        return 0

    return Subject(prepare=lambda: None, code=write)


def begin(state_dir: Path, before: str) -> None:
    shutil.rmtree(state_dir, ignore_errors=True)
    state_dir.mkdir()
    if before == "old":
        store.write(state_dir, "bot", 1, OLD)
    elif before == "half":  # what a killed write has left
        store.write(state_dir, "bot", 1, OLD)
        (store.path_of(state_dir, "bot") / ".new-0123456789abcdef").write_bytes(NEW[:40])


def faults_of(number: int) -> list[str]:
    return [KILL, *(ERRNOS[(number + more) % len(ERRNOS)] for more in range(ERRORS_OF_A_CALL))]


@pytest.mark.parametrize("before", ["", "old", "half"])
def test_a_fault_at_any_system_call_of_a_seal_leaves_the_old_copy_or_the_new(
    before: str, tmp_path: Path
) -> None:
    state_dir, log = tmp_path / "state", tmp_path / "strace"
    begin(state_dir, before)
    calls: list[Call] = injection.calls_of(subject(state_dir), log)
    assert found(state_dir) == "new"
    outcomes: Counter[str] = Counter()
    for number, call in enumerate(calls):
        for fault in faults_of(number):
            begin(state_dir, before)
            result = injection.inject(subject(state_dir), log, call, fault)
            now = found(state_dir)
            former = "old" if before else ""
            assert now == "new" if result == 0 else now in (former, "new"), f"{fault} at {call}: {now!r}"
            outcomes[{None: "killed", 0: "written", 1: "refused"}[result] + f", {now or 'none'}"] += 1
            store.write(state_dir, "bot", 1, NEW)
            assert os.listdir(store.path_of(state_dir, "bot")) == ["1"], f"{fault} at {call} left something"
    print(before or "none", len(calls), dict(outcomes))
    assert {"killed, new", f"killed, {former or 'none'}", f"refused, {former or 'none'}"} <= outcomes.keys()


def test_a_copy_that_is_half_of_each_is_seen(tmp_path: Path) -> None:
    begin(tmp_path / "state", "old")
    (store.path_of(tmp_path / "state", "bot") / "1").write_bytes(NEW[:-40] + OLD[-40:])
    with pytest.raises(AlteredError):
        found(tmp_path / "state")
