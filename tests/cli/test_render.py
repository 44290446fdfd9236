"""secretsctl render: what goes in comes out exactly, or is named on stderr and nothing comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from secretsd.refresh.formats.registry import FORMATS
from tests.canary.spellings import MARKER

ROOT = Path(__file__).resolve().parents[2]
LINES = ("env", "docker", "dotenv", "node", "universal")
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from secretsd.cli.__main__ import main; main()"


def render(document: bytes | str, dialect: str = "env") -> tuple[int, bytes, str]:
    """Exit code, stdout and stderr of the program, started as it is on a host."""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", PROGRAM, "render", "--dialect", dialect],
        input=document.encode() if isinstance(document, str) else document,
        capture_output=True,
        check=False,
        env={"LANG": "C"},
    )
    assert MARKER not in done.stderr.decode()
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("dialect", [*LINES, "json"])
def test_it_writes_what_publishing_would_write(dialect: str) -> None:
    values = {"B": "it's", "A": "a b\\\u2028\xe9\U0001f600", "C": ""}
    expected = FORMATS[dialect].render({name: values[name].encode() for name in sorted(values)})
    assert render(json.dumps(values), dialect) == (0, expected[""], "")
    assert render(json.dumps(values, ensure_ascii=False), dialect) == (0, expected[""], "")


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.dictionaries(st.text(), st.text(), max_size=5))
@example(values={"\r\n": "\r\n", "\0": "\0\ufffe"})
def test_json_to_json_is_the_same(values: dict[str, str]) -> None:
    code, written, _ = render(json.dumps(values), "json")
    assert code == 0
    assert json.loads(written.decode("utf-8")) == values


def test_nothing_is_an_empty_file_or_an_empty_object() -> None:
    for dialect in LINES:
        assert render("{}", dialect) == (0, b"", "")
    assert render("{}", "json") == (0, b"{}\n", "")


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ('"A": 1', "A: is not a string: put its value in quotes"),
        ('"A": 1.5e9', "A: is not a string: put its value in quotes"),
        ('"A": ' + "1" * 10_000, "A: is not a string: put its value in quotes"),
        ('"A": null', "A: is not a string: put its value in quotes"),
        ('"A": true', "A: is not a string: put its value in quotes"),
        (f'"A": ["{MARKER}"]', "A: is not a string: put its value in quotes"),
        (f'"A": {{"B": "{MARKER}", "B": "x"}}', "A: is not a string: put its value in quotes"),
        (f'"A": "{MARKER}", "A": "{MARKER}"', "A: stands twice in the object"),
        (f'"A": "{MARKER}\\ud800"', "A: holds a lone surrogate, which is no UTF-8"),
        (f'"A": "{MARKER}\\udfff\\ud83d"', "A: holds a lone surrogate, which is no UTF-8"),
        (f'"\\ud800": "{MARKER}"', "\\ud800: holds a lone surrogate, which is no UTF-8"),
    ],
)
@pytest.mark.parametrize("dialect", ["env", "json"])
def test_what_is_no_text_is_named(dialect: str, member: str, says: str) -> None:
    assert render(f'{{"GOOD": "{MARKER}", {member}}}', dialect) == (65, b"", f"{says}\n")


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert render('{"A": "\\ud83d\\ude00"}') == (0, "A='\U0001f600'\n".encode(), "")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("", "is not valid JSON: see line 1, column 1"),
        (f'{{"A": "{MARKER}"', "is not valid JSON: see line 1"),
        (f'{{\n "A": "{MARKER}",\n}}', "is not valid JSON: see line 3"),
        (f'{{"A": "{MARKER}"}} {{}}', "is not valid JSON: see line 1"),
        ('{"A": NaN}', "is not valid JSON"),
        (f'\ufeff{{"A": "{MARKER}"}}', "starts with a byte order mark"),
        (b'{"A": "\xff' + MARKER.encode() + b'"}', "is not UTF-8"),
        (f'{{"A": "{MARKER}"}}'.encode("utf-16"), "is not UTF-8"),
        (f'["{MARKER}"]', "is JSON, but not an object"),
        (f'"{MARKER}"', "is JSON, but not an object"),
        ("1", "is JSON, but not an object"),
        ("null", "is JSON, but not an object"),
        ("[" * 100_000, "is not valid JSON"),
        (" " * (16 * 1024 * 1024 + 1), "is larger than 16777216 bytes"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_what_is_no_object_is_one_line_without_what_it_is(document: bytes | str, says: str) -> None:
    code, written, told = render(document)
    assert (code, written) == (65, b"")
    assert told.startswith(f"secretsctl: standard input {says}")
    assert told.count("\n") == 1


def test_every_refusal_is_named_in_a_line_of_its_own() -> None:
    document = json.dumps({"Z": f"{MARKER}\0", "PATH": MARKER, "a-b": MARKER, "OK": MARKER, "": MARKER})
    code, written, told = render(document)
    assert (code, written) == (65, b"")
    assert [line.partition(": ")[0] for line in told.splitlines()] == ["''", "PATH", "Z", "a-b"]
    assert "holds a NUL byte" in told
    assert "runs code" in told


@pytest.mark.parametrize("dialect", LINES)
@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "BASH_FUNC_x", "RANDOM", "1A", "A B", "\xc4"])
def test_names_are_refused_as_publishing_refuses_them(dialect: str, name: str) -> None:
    code, written, told = render(json.dumps({name: MARKER}), dialect)
    assert (code, written) == (65, b"")
    assert "a name that runs code" in told or "no variable's name" in told


def test_a_name_cannot_steer_the_terminal() -> None:
    names = ["\x1b[31mred", "a\nb: fine", "\u202eevil", "\x9b31m", "\r", "-" * 1000, "\u2028"]
    code, _, told = render(json.dumps(dict.fromkeys(names, MARKER)))
    assert code == 65
    assert len(told.splitlines()) == len(names)
    assert all(line.isprintable() and len(line) < 200 for line in told.splitlines())


@pytest.mark.parametrize(
    "arguments", [[], ["--dialect", "files"], ["--dialect", "ENV"], ["--dialekt", "env"]]
)
def test_an_unknown_dialect_is_wrong_usage(arguments: list[str]) -> None:
    command = [sys.executable, "-IS", "-c", PROGRAM, "render", *arguments]
    done = subprocess.run(command, input=b"{}", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (64, b"")
    assert b"see secretsctl render --help" in done.stderr


def test_a_terminal_is_told_what_to_do_instead_of_waiting() -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-IS", "-c", PROGRAM, "render", "--dialect", "env"]
    done = subprocess.run(command, stdin=theirs, capture_output=True, check=False, timeout=20)
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stdout) == (64, b"")
    assert done.stderr == b'secretsctl: pipe a JSON object {"NAME": "value"} into render\n'


@pytest.mark.parametrize(("target", "code"), [("/dev/full", 74), ("&-", 74), ("/dev/null", 0)])
def test_an_output_that_takes_nothing_is_an_error(target: str, code: int) -> None:
    command = f'"$@" > {target}' if not target.startswith("&") else f'"$@" >{target}'
    argv = ["sh", "-c", command, "-", sys.executable, "-IS", "-c", PROGRAM, "render", "--dialect", "env"]
    done = subprocess.run(argv, input=b'{"A": "b"}', capture_output=True, check=False)
    assert done.returncode == code


def test_it_does_not_load_what_the_daemon_is_made_of() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import secretsd.cli.render; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code], check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert not {"pydantic", "botocore", "asyncio"} & set(done.stdout.split())
