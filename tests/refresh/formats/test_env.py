"""The file is read back by the programs that will read it: bash and dash here, systemd in tests/system.

`systemd_reads` is systemd's reader in small, after EnvironmentFile= in systemd.exec(5) and what was seen of
it: quotes open only where a value begins or another quoted piece has just ended.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from secretsd.refresh.formats.env import MAX_ASSIGNMENT_BYTES, EnvFormat
from secretsd.refresh.formats.interface import UnwritableError

NASTY = [
    b"", b" ", b"'", b"''", b"'\"'\"'", b"\\", b"\\'", b"a\\", b"\\\n", b"\n", b"\n\n", b"\r", b"a\r\n",
    b"a\nB='evil'", b"#x", b" #x", b"; x", b"$HOME", b"${HOME}", b"$(id)", b"`id`", b"!!", b"~", b"*",
    b"\t a \t", b'"', b"\"'\"", b"'; id; '", b"=", b"a=b", b"-n", b"%s", b"\x01\x1b[0m\x7f",
    "ä\u2028\u0085\U0001f600".encode(), b"\xef\xbb\xbf",
    b"-----BEGIN FAKE KEY-----\nZmFrZQ==\n-----END FAKE KEY-----\n", b'{"a": "it\'s \\"x\\""}',
]  # fmt: skip


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


def shell_reads(shell: str, file: Path, names: list[str]) -> list[bytes]:
    script = f". {file}; printf '%s\\0' " + " ".join(f'"${name}"' for name in names)
    ran = subprocess.run([shell, "-uc", script], env={"HOME": "/x"}, capture_output=True, check=True)
    assert ran.stderr == b""
    return ran.stdout.split(b"\0")[:-1]


def is_character(code: int) -> bool:
    return code > 0 and not 0xFDD0 <= code <= 0xFDEF and code & 0xFFFE != 0xFFFE


texts = st.text(
    st.one_of(st.sampled_from("'\"\\$`\n\r #;=!{}()"), st.characters(exclude_categories=["Cs"]))
).filter(lambda text: all(is_character(ord(character)) for character in text))
bundles = st.lists(texts.map(str.encode), min_size=1, max_size=12).map(
    lambda values: {f"K{number}": value for number, value in enumerate(values)}
)
EVERYTHING_NASTY = {f"N{number}": value for number, value in enumerate(NASTY)}


@pytest.mark.parametrize("shell", ["bash", "dash"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=bundles)
@example(values=EVERYTHING_NASTY)
def test_a_real_shell_reads_back_every_byte(shell: str, values: dict[str, bytes], tmp_path: Path) -> None:
    program = shutil.which(shell)
    assert program is not None, f"{shell} is missing: apt install {shell}"
    file = tmp_path / "env"
    file.write_bytes(EnvFormat().render(values))
    assert shell_reads(program, file, list(values)) == list(values.values())


@given(values=bundles)
@example(values=EVERYTHING_NASTY)
def test_systemds_rules_read_back_every_byte(values: dict[str, bytes]) -> None:
    expected = {name.encode(): value for name, value in values.items()}
    assert systemd_reads(EnvFormat().render(values)) == expected


def _shell_trick(value: bytes) -> bytes:
    return b"'" + value.replace(b"'", b"'\\''") + b"'"


def _plain(value: bytes) -> bytes:
    return value


def _double_quotes_unescaped(value: bytes) -> bytes:
    return b'"' + value + b'"'


def _single_quotes_unescaped(value: bytes) -> bytes:
    return b"'" + value + b"'"


@pytest.mark.parametrize("quoted", [_shell_trick, _plain, _double_quotes_unescaped, _single_quotes_unescaped])
def test_a_wrong_writer_would_be_caught(quoted: Callable[[bytes], bytes]) -> None:
    def reads_back(values: Mapping[str, bytes]) -> bool:
        written = b"".join(name.encode() + b"=" + quoted(value) + b"\n" for name, value in values.items())
        return systemd_reads(written) == {name.encode(): value for name, value in values.items()}

    assert reads_back({"K": b"plain"})
    assert not all(reads_back({"K": value}) for value in NASTY)


def test_the_usual_shell_trick_leaves_quotes_behind() -> None:
    assert systemd_reads(b"K=" + _shell_trick(b"it's") + b"\n") == {b"K": b"it''s'"}


def test_a_value_cannot_inject_another_variable() -> None:
    written = EnvFormat().render({"A": b"x'\nLD_PRELOAD='/evil.so", "B": b'"\nPATH="/evil'})
    assert systemd_reads(written).keys() == {b"A", b"B"}


def test_the_file_has_lf_no_bom_no_export_and_a_final_newline() -> None:
    assert EnvFormat().render({"A": b"", "B": "ü'".encode()}) == "A=''\nB='ü'\"'\"''\n".encode()
    assert EnvFormat().render({}) == b""


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"fake-MARKER\0", "NUL"),
        (b"fake-MARKER\xff", "not UTF-8"),
        (b"fake-MARKER\xed\xa0\x80", "not UTF-8"),
        (b"fake-MARKER\xc0\x80", "not UTF-8"),
        ("fake-MARKER\ufdd0".encode(), "noncharacter"),
        ("fake-MARKER\ufdef".encode(), "noncharacter"),
        ("fake-MARKER\ufffe".encode(), "noncharacter"),
        ("fake-MARKER\uffff".encode(), "noncharacter"),
        ("fake-MARKER\U0010ffff".encode(), "noncharacter"),
        (b"x" * MAX_ASSIGNMENT_BYTES, "longer"),
    ],
)
def test_what_a_reader_would_choke_on_is_refused_by_name_and_never_by_value(value: bytes, says: str) -> None:
    with pytest.raises(UnwritableError) as caught:
        EnvFormat().render({"GOOD": b"fine", "BAD": value, "WORSE": b"\0"})
    assert set(caught.value.reasons) == {"BAD", "WORSE"}
    assert says in caught.value.reasons["BAD"]
    assert "MARKER" not in repr(caught.value) + str(caught.value) + repr(caught.value.reasons)
    assert caught.value.__context__ is None


def test_neighbours_of_noncharacters_are_written() -> None:
    near = "\ufdcf\ufdf0\ufffd\U0001fffd\U00020000"
    assert EnvFormat().render({"A": near.encode()}) == f"A='{near}'\n".encode()


def test_the_longest_assignment_that_execve_takes_is_written() -> None:
    longest = b"x" * (MAX_ASSIGNMENT_BYTES - len("NAME="))
    EnvFormat().render({"NAME": longest})
    true = shutil.which("true") or "/bin/true"
    subprocess.run([true], env={"NAME": longest.decode()}, check=True)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run([true], env={"NAME": longest.decode() + "x"}, check=True)
