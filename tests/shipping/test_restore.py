"""What is restored stays in its directory, whatever the bucket's names say, and overwrites nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from secretsd.errors import LocalIOError, UsageError
from secretsd.shipping.proof.restore import Restored
from secretsd.shipping.proof.verification import Part


def part(data: bytes = b"x", offset: int = 0, account: int = 1, file: str = "ab") -> Part:
    return Part(account, file, 1, offset, data)


def test_parts_come_to_their_place_and_what_is_missing_is_a_hole(tmp_path: Path) -> None:
    restored = Restored(tmp_path / "new")
    restored.keep("host", "signer", part(b"end", offset=5))
    restored.keep("host", "signer", part(b"be"))
    path = tmp_path / "new/host/signer-00000000000000000001.jsonl"
    assert path.read_bytes() == b"be\0\0\0end"
    assert path.stat().st_mode & 0o077 == 0


def test_another_chain_or_account_has_files_of_its_own(tmp_path: Path) -> None:
    restored = Restored(tmp_path / "new")
    for each in (part(b"1"), part(b"2", file="cd"), part(b"3", account=2)):
        restored.keep("host", "signer", each)
    found = {path.read_bytes() for path in (tmp_path / "new").rglob("*.jsonl")}
    assert found == {b"1", b"2", b"3"}
    assert (tmp_path / "new/host/account-2/signer-00000000000000000001.jsonl").read_bytes() == b"3"


@pytest.mark.parametrize("name", ["..", ".", "a\nb"])
def test_no_name_of_the_bucket_leads_elsewhere(tmp_path: Path, name: str) -> None:
    restored = Restored(tmp_path / "new")
    restored.keep(name, "signer", part())
    restored.keep("host", name, part(file="cd"))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert len(list((tmp_path / "new").rglob("*.jsonl"))) == 2


def test_names_that_are_no_files_names_do_not_meet_in_one(tmp_path: Path) -> None:
    restored = Restored(tmp_path / "new")
    for name in ("\1", "\2", "h" * 900):
        restored.keep(name, "signer", part())
    assert len(list((tmp_path / "new").iterdir())) == 3


def test_a_forged_part_does_not_replace_what_was_restored(tmp_path: Path) -> None:
    restored = Restored(tmp_path / "new")
    restored.keep("host", "signer", part(b"the true one"))
    for _ in range(2):
        restored.keep("host", "signer", part(b"LIES", offset=4))
    directory = tmp_path / "new/host"
    assert (directory / "signer-00000000000000000001.jsonl").read_bytes() == b"the true one"
    assert [path.read_bytes() for path in directory.glob("*.aside-4-*")] == [b"LIES"] * 2


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        Restored(tmp_path)
    with pytest.raises(LocalIOError, match="cannot be restored") as caught:
        Restored(tmp_path / "mine")
    assert caught.value.advice
