"""The exact bytes of each dialect, and what each cannot hold: refused by name and reason, never by value."""

from __future__ import annotations

from typing import get_args

import pytest

from secretsd.config.models import Output
from secretsd.refresh.formats.docker import MAX_LINE_BYTES
from secretsd.refresh.formats.interface import ITSELF, UnwritableError
from secretsd.refresh.formats.lines import MAX_ASSIGNMENT_BYTES, MAX_ENVIRONMENT_BYTES
from secretsd.refresh.formats.registry import FORMATS
from tests.refresh.formats.readers import READERS_OF

LINES = ("env", "docker", "dotenv", "node", "universal")
# Their readers hand everything to a program by execve(2).
ENVIRONMENTS = ("env", "docker", "universal")
DANGEROUS = "runs code"


def written(dialect: str, value: str) -> str:
    return FORMATS[dialect].render({"K": value.encode()})[ITSELF].decode()


def reasons(dialect: str, **values: bytes) -> dict[str, str]:
    with pytest.raises(UnwritableError) as caught:
        FORMATS[dialect].render({"GOOD": b"fine", **values})
    # What is raised travels through error handlers: no value may travel with it.
    assert "MARKER" not in repr(caught.value) + str(caught.value) + repr(caught.value.reasons)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    return caught.value.reasons


@pytest.mark.parametrize(
    ("dialect", "value", "line"),
    [
        *((dialect, "", "K=''\n") for dialect in ("env", "dotenv", "node", "universal")),
        ("docker", "", "K=\n"),
        ("json", "", '{\n "K": ""\n}\n'),
        ("env", "it's", "K='it'\"'\"'s'\n"),
        ("env", "a\\\n$b", "K='a\\\n$b'\n"),
        ("docker", " a'b\" # c ", "K= a'b\" # c \n"),
        ("docker", "a\r", "K=a\r\r\n"),
        ("docker", "a\rb", "K=a\rb\n"),
        ("dotenv", 'a"b\n$c', "K='a\"b\n$c'\n"),
        ("dotenv", "it's", 'K="it\'s"\n'),
        ("dotenv", 'a\\n"b"', 'K="a\\\\n\\"b\\""\n'),
        ("dotenv", "a\r\n", 'K="a\\r\n"\n'),
        ("dotenv", "${A}", 'K="${:-$}{A}"\n'),
        ("dotenv", "a\\", 'K="a\\\\${:-}"\n'),
        ("node", "a\\n\"b`", "K='a\\n\"b`'\n"),
        ("node", "it's \\n", "K=`it's \\n`\n"),
        ("node", "it's `x`", 'K="it\'s `x`"\n'),
        ("node", "x'`\"", "K=x'`\"\n"),
        ("universal", 'a"b`c$d\\e\n', "K='a\"b`c$d\\e\n'\n"),
        ("universal", "it's", 'K="it\'s"\n'),
        ("json", 'a"\n\0\u2028\uffff\xe9', '{\n "K": "a\\"\\n\\u0000\u2028\uffff\xe9"\n}\n'),
    ],
)  # fmt: skip
def test_the_form_of_a_value(dialect: str, value: str, line: str) -> None:
    assert written(dialect, value) == line


@pytest.mark.parametrize("dialect", LINES)
def test_lines_have_lf_and_nothing_before_and_after_them(dialect: str) -> None:
    whole = FORMATS[dialect].render({"A": b"x", "B": b"", "C": "\ufeff".encode()})[ITSELF]
    assert whole.startswith(b"A=")
    assert whole.endswith(b"\n")
    assert b"\r" not in whole
    assert b"export" not in whole
    assert FORMATS[dialect].render({}) == {ITSELF: b""}


def test_json_of_nothing_is_an_object_and_files_of_nothing_are_none() -> None:
    assert FORMATS["json"].render({}) == {ITSELF: b"{}\n"}
    assert FORMATS["files"].render({}) == {}


def test_a_directory_has_a_file_for_each_variable_with_its_very_bytes() -> None:
    values = {"KEYSTORE": b"PK\x03\x04\0\xff", "EMPTY": b"", "LINE": b"a\n"}
    assert FORMATS["files"].render(values) == values


@pytest.mark.parametrize(
    ("dialects", "value", "says"),
    [
        (LINES, b"fake-MARKER\0", "NUL"),
        ((*LINES, "json"), b"fake-MARKER\xff", "not UTF-8"),
        ((*LINES, "json"), b"fake-MARKER\xed\xa0\x80", "not UTF-8"),  # a lone surrogate
        ((*LINES, "json"), b"fake-MARKER\xc0\x80", "not UTF-8"),  # NUL, too long by a byte
        *(
            (("env", "universal"), f"fake-MARKER{noncharacter}".encode(), "noncharacter")
            for noncharacter in "\ufdd0\ufdef\ufffe\uffff\U0001fffe\U0010ffff"
        ),
        (("docker",), b"fake-MARKER\n", "line feed"),
        (("node", "universal"), b"fake-MARKER\r", "carriage return"),
        (("node",), b"fake-MARKER '`\" #", "every kind of quotes"),
        (("node",), b"fake-MARKER '`\"\n", "every kind of quotes"),
        (("node",), b"fake-MARKER '`\" ", "every kind of quotes"),
        (("node",), b"'`\" fake-MARKER", "every kind of quotes"),
        (("node",), b"fake-MARKER '`\\n#", "every kind of quotes"),
        (("universal",), b"fake-MARKER\\\\", "two backslashes"),
        (("universal",), b"fake-MARKER\\", "a backslash at its end"),
        (("universal",), b"${fake-MARKER}", "a dollar before a brace"),
        (("universal",), b'it\'s "fake-MARKER"', "a single quote beside a double quote"),
        (("universal",), b"it's $fake-MARKER", "a single quote beside a dollar"),
        (("universal",), b"it's `fake-MARKER`", "a single quote beside a backtick"),
        (("universal",), b"it's \\fake-MARKER", "a single quote beside a backslash"),
        (ENVIRONMENTS[::2], b"x" * MAX_ASSIGNMENT_BYTES, str(MAX_ASSIGNMENT_BYTES)),
        (("docker",), b"x" * MAX_LINE_BYTES, str(MAX_LINE_BYTES)),
    ],
)
def test_what_a_reader_would_not_read_back_is_refused(
    dialects: tuple[str, ...], value: bytes, says: str
) -> None:
    for dialect in dialects:
        found = reasons(dialect, BAD=value)
        assert set(found) == {"BAD"}
        assert says in found["BAD"], dialect


def test_every_bad_value_is_named_at_once() -> None:
    found = reasons("env", BAD=b"\0MARKER", WORSE=b"\xffMARKER")
    assert set(found) == {"BAD", "WORSE"}


@pytest.mark.parametrize("dialect", LINES)
@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\nB", "\xc4", "A.B", "A\0"])
def test_a_name_that_readers_drop_is_refused(dialect: str, name: str) -> None:
    assert "is no variable's name" in reasons(dialect, **{name: b"x"})[name]


@pytest.mark.parametrize("dialect", LINES)
@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "BASH_ENV", "RANDOM", "NODE_OPTIONS"])
def test_a_name_that_runs_code_is_refused(dialect: str, name: str) -> None:
    assert DANGEROUS in reasons(dialect, **{name: b"x"})[name]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "a\0b", "record.json"])
def test_a_file_gets_no_name_that_leads_elsewhere(name: str) -> None:
    assert set(reasons("files", **{name: b"x"})) == {name}


def test_a_file_gets_no_name_that_its_directory_cannot_hold() -> None:
    assert FORMATS["files"].render({"A" * 255: b"x"}) == {"A" * 255: b"x"}
    assert "255" in reasons("files", **{"A" * 256: b"x"})["A" * 256]


def test_json_takes_any_name() -> None:
    values = {"": b"x", "PATH": b"x", "a-b.c d\n": b"x"}
    assert dict(READERS_OF["json"][0](FORMATS["json"].render(values))) == values


@pytest.mark.parametrize("dialect", ENVIRONMENTS)
def test_more_than_one_environment_holds_is_refused_by_the_largest(dialect: str) -> None:
    size = MAX_ENVIRONMENT_BYTES // 30
    many = {f"K{number}": b"x" * size for number in range(29)}
    FORMATS[dialect].render(many)
    found = reasons(dialect, **many, LARGEST=b"x" * (size + 1), ONE_MORE=b"x" * size)
    assert set(found) == {"LARGEST"}
    assert str(MAX_ENVIRONMENT_BYTES) in found["LARGEST"]


@pytest.mark.parametrize("dialect", ["dotenv", "node", "json"])
def test_readers_that_fill_no_environment_take_large_values(dialect: str) -> None:
    values = {f"K{number}": b"fake" * 50_000 for number in range(10)}
    (read,) = READERS_OF[dialect]
    assert read(FORMATS[dialect].render(values)) == values


@pytest.mark.parametrize(("dialect", "most"), [("env", MAX_ASSIGNMENT_BYTES), ("docker", MAX_LINE_BYTES)])
def test_the_longest_value_is_read_and_one_more_byte_is_refused(dialect: str, most: int) -> None:
    longest = b"x" * (most - len("NAME="))
    for reader in READERS_OF[dialect]:
        assert reader(FORMATS[dialect].render({"NAME": longest})) == {"NAME": longest}
    assert set(reasons(dialect, NAME=longest + b"x")) == {"NAME"}


def test_the_configuration_takes_exactly_the_formats_that_there_are() -> None:
    assert set(get_args(Output.model_fields["format"].annotation)) == FORMATS.keys()
