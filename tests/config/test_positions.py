from __future__ import annotations

import tomllib
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.config.positions import defined_twice, key_lines

if TYPE_CHECKING:
    from secretsd.config.positions import KeyPath

SHAPES: list[tuple[str, dict[KeyPath, int]]] = [
    ("a = 1\nb = 2\n", {("a",): 1, ("b",): 2}),
    ("\n# a = 0\n\n  a = 1 # b = 2\n", {("a",): 4}),
    ("[t]\na = 1", {("t",): 1, ("t", "a"): 2}),
    ("[ t . u ]\na = 1", {("t",): 1, ("t", "u"): 1, ("t", "u", "a"): 2}),
    ("[t.u]\n[t]\na=1", {("t",): 1, ("t", "u"): 1, ("t", "a"): 3}),
    ("[[l]]\na = 1\n[[l]]\na = 2", {("l",): 1, ("l", 0): 1, ("l", 0, "a"): 2, ("l", 1): 3, ("l", 1, "a"): 4}),
    (
        "[[l]]\n[l.t]\na = 1\n[[l]]\n[[l.m]]\n[[l.m]]\nb = 1\n[l.t]\n",
        {
            ("l",): 1, ("l", 0): 1, ("l", 0, "t"): 2, ("l", 0, "t", "a"): 3, ("l", 1): 4, ("l", 1, "m"): 5,
            ("l", 1, "m", 0): 5, ("l", 1, "m", 1): 6, ("l", 1, "m", 1, "b"): 7, ("l", 1, "t"): 8,
        },
    ),
    ("a.b.c = 1\na.d = 2", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("a", "d"): 2}),
    ("a . b = 1", {("a",): 1, ("a", "b"): 1}),
    ('"a.b" = 1\n\'c d\'.e = 2', {("a.b",): 1, ("c d",): 2, ("c d", "e"): 2}),
    ('"q\\"\\u0041" = 1\n"" = 2\n\'\\\' = 3', {('q"A',): 1, ("",): 2, ("\\",): 3}),
    ('[t."x]y"]\na = 1', {("t",): 1, ("t", "x]y"): 1, ("t", "x]y", "a"): 2}),
    ("3.14 = 1\n-x_1 = 2", {("3",): 1, ("3", "14"): 1, ("-x_1",): 2}),
    ("t = { a = 1, b.c = 'x', d = {} }", {
        ("t",): 1, ("t", "a"): 1, ("t", "b"): 1, ("t", "b", "c"): 1, ("t", "d"): 1}),
    ("a = [\n  1, # one ]\n\n  2,\n]\nb = 3", {("a",): 1, ("a", 0): 2, ("a", 1): 4, ("b",): 6}),
    ("a = [ [1,\n2], [], [\n{ x = 1 }] ]\nb = 1", {
        ("a",): 1, ("a", 0): 1, ("a", 0, 0): 1, ("a", 0, 1): 2, ("a", 1): 2, ("a", 2): 2, ("a", 2, 0): 3,
        ("a", 2, 0, "x"): 3, ("b",): 4}),
    ('a = """\n[x]\nb = 1\\\n"""\nc = 2', {("a",): 1, ("c",): 5}),
    ('a = """x""\\""""""\nb = 2', {("a",): 1, ("b",): 2}),
    ("a = '''\n'' # \n'''''\nb = 2", {("a",): 1, ("b",): 4}),
    ('a = """"""\nb = \'\'\'\'\'\'\nc = ""\nd = \'\'', {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4}),
    ('a = "# \\" ] }"\nb = \'\\\'\nc = 1', {("a",): 1, ("b",): 2, ("c",): 3}),
    ("a = 1979-05-27 07:32:00 # x\nb = [1979-05-27T07:32:00Z, 07:32:00]\nc = -inf\nd = 0xff", {
        ("a",): 1, ("b",): 2, ("b", 0): 2, ("b", 1): 2, ("c",): 3, ("d",): 4}),
    ("a = [1,2]# x\nb=true", {("a",): 1, ("a", 0): 1, ("a", 1): 1, ("b",): 2}),
    ("a = '\N{SNOWMAN}\N{GRINNING FACE}'\n'\N{SNOWMAN}' = 1", {("a",): 1, ("\N{SNOWMAN}",): 2}),
    ("", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), SHAPES, ids=range(len(SHAPES)))
def test_each_shape_of_toml(text: str, lines: dict[KeyPath, int]) -> None:
    assert set(lines) == set(_paths(tomllib.loads(text)))
    assert key_lines(text) == lines


def _paths(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    """Every key and every index of a parsed document."""
    members: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list):
        members = list(enumerate(value))
    return [deeper for key, member in members for deeper in [(*path, key), *_paths(member, (*path, key))]]


# A document is generated as lines; each key is unique in it, so that a line either holds a key or does not.


class Writer:
    """Writes TOML with hypothesis choosing the shapes; remembers the line of each key that it wrote."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.count = 0

    def choose(self, *options: str) -> str:
        return self.data.draw(st.sampled_from(options))

    def blank(self) -> str:
        return self.choose("", " ", "\t ")

    def between(self) -> None:
        """What may stand between two statements, and between two elements of an array."""
        self.text += self.choose("", "\n", " # x = 1 ]\n", "\n\n \t", "#\"'''\n")

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self, prefix: KeyPath) -> KeyPath:
        self.count += 1
        name = f"k{self.count}"
        style = self.choose("bare", "basic", "literal", "escaped", "odd")
        if style == "odd":
            name += self.choose(".", " = ", "]", "#", "{", "\\", '"')
        path = (*prefix, name)
        self.note(path)
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        self.text += {
            "bare": name,
            "literal": f"'{name}'",
            "escaped": '"' + "".join(f"\\u{ord(char):04x}" for char in name) + '"',
        }.get(style, quoted)
        return path

    def pair(self, prefix: KeyPath, depth: int, *, in_inline: bool = False) -> None:
        path = self.key(prefix)
        for _ in range(self.data.draw(st.integers(0, 2))):
            self.text += self.blank() + "." + self.blank()
            path = self.key(path)
        self.text += self.blank() + "=" + self.blank()
        self.value(path, depth, in_inline=in_inline)

    def value(self, path: KeyPath, depth: int, *, in_inline: bool) -> None:
        kinds = ["scalar", "string"] + ["array", "inline"] * (depth < 3)
        kind = self.choose(*kinds)
        if kind == "scalar":
            self.text += self.choose("1", "-1_0", "1.5e-3", "true", "inf", "1979-05-27 07:32:00", "07:32:00")
        elif kind == "string":
            self.text += self.choose(
                '"a # [b] \\" "',
                "'\\'", '""', "''", '"""\nk1 = 1\n"x" ""\\""""', "'''\n[k1]\n''x'''''", '""""""',
            )  # fmt: skip
        elif kind == "array":
            self.array(path, depth)
        else:
            self.inline(path, depth)

    def array(self, path: KeyPath, depth: int) -> None:
        self.text += "["
        count = self.data.draw(st.integers(0, 3))
        for index in range(count):
            self.between()
            self.note((*path, index))
            self.value((*path, index), depth + 1, in_inline=False)
            self.between()
            self.text += "," if index < count - 1 else self.choose("", ",")
        self.between()
        self.text += "]"

    def inline(self, path: KeyPath, depth: int) -> None:
        self.text += "{" + self.blank()
        for index in range(self.data.draw(st.integers(0, 3))):
            self.text += "," if index else ""
            self.text += self.blank()
            self.pair(path, depth + 1, in_inline=True)
            self.text += self.blank()
        self.text += "}"

    def header(self, known: list[KeyPath], arrays: dict[KeyPath, int]) -> KeyPath:
        if arrays and self.data.draw(st.booleans()):  # one more element of a known array of tables
            path = self.data.draw(st.sampled_from(sorted(arrays, key=repr)))
            self.text += f"[[{self.blank()}{_dotted(path)}]]"
            arrays[path] += 1
            element = (*path, arrays[path])
            self.note(element)
            return element
        parent = self.data.draw(st.sampled_from([(), *known]))
        is_array = self.data.draw(st.booleans())
        self.text += "[[" if is_array else "["
        self.text += _dotted(parent) + "." if parent else ""
        path = self.key(parent)
        self.text += self.blank() + ("]]" if is_array else "]")
        if not is_array:
            return path
        arrays[path] = 0
        self.note((*path, 0))
        return (*path, 0)

    def document(self) -> None:
        table: KeyPath = ()
        known: list[KeyPath] = []
        arrays: dict[KeyPath, int] = {}
        for _ in range(self.data.draw(st.integers(0, 8))):
            self.between()
            if not self.text.endswith("\n") and self.text:
                self.text += "\n"
            if self.data.draw(st.booleans()):
                table = self.header(known, arrays)
                # Earlier elements of an array cannot be reached again: a header means the last one.
                known = [each for each in known if _is_last(each, arrays)] + [table]
                arrays = {path: last for path, last in arrays.items() if _is_last(path, arrays)}
            else:
                self.pair(table, 0)
                self.text += self.choose("\n", " # [c]\n")


def _is_last(path: KeyPath, arrays: dict[KeyPath, int]) -> bool:
    return all(
        arrays.get(path[:index], part) == part for index, part in enumerate(path) if isinstance(part, int)
    )


def _dotted(path: KeyPath) -> str:
    quoted = ("'" + part + "'" for part in path if isinstance(part, str))
    return ".".join(quoted)


@given(st.data())
def test_every_key_is_found_on_the_line_that_holds_it(data: st.DataObject) -> None:
    writer = Writer(data)
    writer.document()
    parsed = tomllib.loads(writer.text)
    assert key_lines(writer.text) == writer.lines
    assert set(writer.lines) == set(_paths(parsed))


@given(st.text(alphabet="ab.=[]{}\"'\\#,\n 1"))
def test_any_text_that_tomllib_takes_has_a_line_for_each_key(text: str) -> None:
    lines = key_lines(text)  # also of what is no TOML: it must end
    defined_twice(text)
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(lines) == set(_paths(parsed))


def test_deep_nesting_leaves_lines_out_and_raises_nothing() -> None:
    lines = key_lines("a = 1\nb = " + "[" * 5000)
    assert lines[("a",)] == 1
    assert lines[("b",)] == 2


def test_a_megabyte_in_one_string_is_walked_over() -> None:
    text = 'a = """' + "\\\n\n" * 150_000 + '"""\nb = 1'
    assert key_lines(text) == {("a",): 1, ("b",): 300_002}


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("a = 1\na = 2", (("a",), 1, 2)),
        ("[t]\na = 1\n[u]\n[t]\n", (("t",), 1, 4)),
        ("[t]\n[t", (("t",), 1, 2)),
        ("[t]\na = [\n1]\nb = 1\na = 2", (("t", "a"), 2, 5)),
        ("t = { a = 1, a = 2", (("t", "a"), 1, 1)),
        ("a.b = 1\n\na.b = 2", (("a", "b"), 1, 3)),
        ("a = 1\n[a]", (("a",), 1, 2)),
        ("a = 1\nb = 2\n[[l]]\na = 1\n[[l]]\na = 1", None),
    ],
)
def test_what_is_defined_twice(text: str, again: tuple[KeyPath, int, int] | None) -> None:
    assert defined_twice(dedent(text)) == again
