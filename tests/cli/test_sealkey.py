"""The key of sealed copies is made once, is readable by its owner alone, and is never shown."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from secretsd.cli import main


def test_a_key_of_the_foreground_is_its_owners_alone_and_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "seal-key"
    assert main.run(["seal-setup", "--file", str(path)]) == 0
    key = path.read_bytes()
    assert len(set(key)) > 8
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said = capsys.readouterr().out
    assert f'seal_key = "file:{path}"' in said
    assert key.hex() not in said
    assert os.listdir(tmp_path) == ["seal-key"]


def test_a_key_that_is_there_stays_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "seal-key"
    assert main.run(["seal-setup", "--file", str(path)]) == 0
    key = path.read_bytes()
    assert main.run(["seal-setup", "--file", str(path)]) == 64
    assert "can then not be opened any more" in capsys.readouterr().err
    assert path.read_bytes() == key
    assert main.run(["seal-setup", "--file", str(path), "--force"]) == 0
    assert path.read_bytes() != key


def test_what_is_printed_for_the_configuration_is_what_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "down").mkdir()
    assert main.run(["seal-setup", "--file", f'{tmp_path}/down/../a "key"']) == 0
    line = capsys.readouterr().out.splitlines()[0].partition("needs: ")[2]
    assert tomllib.loads(line) == {"seal_key": f'file:{tmp_path}/a "key"'}
    assert main.run(["seal-setup", "--file", str(tmp_path / "two\nlines")]) == 64
    assert sorted(os.listdir(tmp_path)) == ['a "key"', "down"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["seal-setup", "--file", str(tmp_path / "gone" / "key")]) == 74
    assert "gone" in capsys.readouterr().err


def test_which_key_encrypts_is_never_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("auto", "null", "auto-initrd"):
        with pytest.raises(SystemExit) as ended:
            main.run(["seal-setup", "--with-key", key])
        assert ended.value.code == 64
    assert main.run(["seal-setup"]) == 64
    assert main.run(["seal-setup", "--counter", "--with-key", "host"]) == 64
    assert "--with-key KEY, --counter or --file PATH" in capsys.readouterr().err
