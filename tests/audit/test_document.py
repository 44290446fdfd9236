"""docs/audit.md lets anybody check a chain: its program and its command say what ours says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secretsd.audit import chain, record
from tests.audit.test_chain import a_chain, records

_TEXT = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", _TEXT, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def verdict_of_the_document(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", block("python"), path], check=False, capture_output=True, text=True
    )
    return (done.stdout + done.stderr).strip()


def test_the_program_of_the_document_finds_what_ours_finds(tmp_path: Path) -> None:
    path = tmp_path / "signer.jsonl"
    lines = a_chain()
    path.write_bytes(b"".join(lines))
    assert verdict_of_the_document(path) == "11 lines fit"
    for number in (1, 5, 10):
        edited = [*lines]
        edited[number] = edited[number].replace(b'"sign"', b'"hmac"')
        path.write_bytes(b"".join(edited))
        flaw = chain.verify(edited).flaw
        assert flaw is not None
        assert verdict_of_the_document(path) == f"line {flaw.line} does not fit"
    path.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    assert verdict_of_the_document(path) == "line 5 does not fit"
    path.write_bytes(b"".join(lines)[:-9])
    assert verdict_of_the_document(path) == "line 11 is torn"


def test_the_program_of_the_document_steps_over_a_torn_line_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "signer.jsonl"
    lines = a_chain(9)
    head = chain.head_of(lines[-1])
    assert head is not None
    torn = {"offset": sum(map(len, lines)), "bytes": 4}
    named = records(head, 1, record.event("recovery", reason="torn", details={"torn": torn}))
    path.write_bytes(b"".join([*lines, b"half\n", *named]))
    assert verdict_of_the_document(path) == "12 lines fit"
    path.write_bytes(b"".join([*lines, b"half\n", *records(head, 1)]))
    assert verdict_of_the_document(path) == "line 12 does not fit"


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_commands_of_the_document_give_the_record_s_hash(tmp_path: Path) -> None:
    lines = a_chain(3)
    (tmp_path / "signer.jsonl").write_bytes(b"".join(lines))
    commands = [line[2:] for line in block("console").splitlines()]
    done = subprocess.run(["sh", "-c", "\n".join(commands)], cwd=tmp_path, check=True, capture_output=True)
    head = chain.head_of(lines[2])
    assert head is not None
    assert done.stdout.split()[0] == head.hash
