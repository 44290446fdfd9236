"""The env dialect by systemd's rules, for machines without a lab; test_systemd.py asks systemd itself.

`systemd_reads` is systemd's reader in small, after EnvironmentFile= in systemd.exec(5) and what was seen of
it: quotes open only where a value begins or another quoted piece has just ended.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping

import pytest

from secretsd.refresh.formats.interface import ITSELF
from secretsd.refresh.formats.lines import MAX_ASSIGNMENT_BYTES
from secretsd.refresh.formats.registry import FORMATS
from tests.refresh.formats import wrong_writers
from tests.refresh.formats.comparing import compare
from tests.refresh.formats.values import TRAPS, corpus
from tests.refresh.formats.wrong_writers import WrongQuotes


def systemd_reads(content: bytes) -> dict[bytes, bytes]:
    read, rest = {}, content
    while rest:
        name, _, rest = rest.partition(b"=")
        value = b""
        while rest and not rest.startswith(b"\n"):
            opener, rest = rest[:1], rest[1:]
            if opener == b"'":
                piece, _, rest = rest.partition(b"'")
                value += piece
            elif opener == b'"':
                piece, rest = _double_quoted(rest)
                value += piece
            elif opener not in b" \t\r":
                piece, rest = _bare(opener + rest)
                value += piece
        read[name.strip()] = value
        rest = rest[1:]
    return read


def _double_quoted(rest: bytes) -> tuple[bytes, bytes]:
    piece = b""
    while rest and not rest.startswith(b'"'):
        if rest[:1] == b"\\" and rest[1:2] in (b'"', b"\\", b"`", b"$"):
            rest = rest[1:]
        piece, rest = piece + rest[:1], rest[1:]
    return piece, rest[1:]


def _bare(rest: bytes) -> tuple[bytes, bytes]:
    piece = b""
    while rest and not rest.startswith(b"\n"):
        if rest.startswith(b"\\"):
            rest = rest[1:]
        piece, rest = piece + rest[:1], rest[1:]
    return piece.rstrip(b" \t\r"), rest


def env(values: Mapping[str, bytes]) -> bytes:
    return FORMATS["env"].render(values)[ITSELF]


def in_small(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return {name.decode("latin-1"): value for name, value in systemd_reads(files[ITSELF]).items()}


@pytest.mark.parametrize("dialect", ["env", "universal"])
def test_systemds_rules_read_back_every_byte(dialect: str) -> None:
    result = compare(FORMATS[dialect], in_small, corpus(1_000))
    assert not result.mismatches, str(result)
    assert result.exact > 2_000


@pytest.mark.parametrize(
    "quote",
    [
        wrong_writers.shell_trick,
        wrong_writers.json_quotes,
        wrong_writers.no_quotes,
        wrong_writers.single_quotes_unescaped,
    ],
    ids=lambda quote: quote.__name__,
)
def test_a_wrong_writer_is_caught_by_systemds_rules(quote: Callable[[str], str]) -> None:
    assert compare(WrongQuotes("env", quote), in_small, TRAPS).mismatches


def test_the_usual_shell_trick_leaves_quotes_behind() -> None:
    assert systemd_reads(b"K=" + wrong_writers.shell_trick("it's").encode() + b"\n") == {b"K": b"it''s'"}


def test_a_value_cannot_inject_another_variable() -> None:
    written = env({"A": b"x'\nLD_PRELOAD='/evil.so", "B": b'"\nPATH="/evil'})
    assert systemd_reads(written).keys() == {b"A", b"B"}


def test_the_file_has_lf_no_bom_no_export_and_a_final_newline() -> None:
    assert env({"A": b"", "B": "ü'".encode()}) == "A=''\nB='ü'\"'\"''\n".encode()
    assert env({}) == b""


def test_neighbours_of_noncharacters_are_written() -> None:
    near = "\ufdcf\ufdf0\ufffd\U0001fffd\U00020000"
    assert env({"A": near.encode()}) == f"A='{near}'\n".encode()


def test_the_longest_assignment_that_execve_takes_is_written() -> None:
    longest = b"x" * (MAX_ASSIGNMENT_BYTES - len("NAME="))
    env({"NAME": longest})
    true = shutil.which("true") or "/bin/true"
    subprocess.run([true], env={"NAME": longest.decode()}, check=True)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run([true], env={"NAME": longest.decode() + "x"}, check=True)
