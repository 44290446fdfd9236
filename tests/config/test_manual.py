"""secretsd.toml(5) and the file of all options say every key of the models, and say it rightly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from secretsd.config.sections import Key, Section, sections
from secretsd.config.tables import ANY, known_keys
from secretsd.config.toml_text import inline
from tests.config.support import Etc

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = sections()
KEYS = [
    pytest.param(section, key, id=f"{section.header}{''.join(section.tag)}.{key.name}")
    for section in SECTIONS
    for key in section.keys
]

# The least that a configuration needs; an example is put into it at its own place.
MINIMAL: dict[str, Any] = {
    "daemon": {"seal_key": "credential:seal-key"},
    "sources": {"aws": {"type": "aws-secretsmanager"}, "ssm": {"type": "aws-ssm"}},
    "bundles": {
        "bot": {
            "owner": "bot",
            "secrets": [{"source": "aws", "id": "bot"}],
            "variables": {"TOKEN": {}},
        }
    },
    "signer": {
        "module": "/usr/lib/token.so",
        "pin": "credential:pin",
        "token": "trading",
        "keys": {
            "bot": {"type": "ecdsa-secp256k1", "operations": ["sign"]},
            "backup-kek": {"type": "aes256-wrap"},
        },
    },
}
NAMES = {"sources": "example", "bundles": "bot", "variables": "TOKEN", "keys": "bot"}
INSTEAD = {"token": "slot"}  # what gives way to which example


@pytest.fixture(scope="session")
def page() -> str:
    return written()


def written(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "packaging" / "man" / "secretsd-toml", *options],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )
    return done.stdout


def with_example(section: Section, keys: dict[str, object]) -> dict[str, Any]:
    """The minimal configuration with a table of that kind that holds `keys` and what it must hold."""
    required = {key.name: key.examples[0] for key in section.keys if key.is_required}
    config: dict[str, Any] = copied(MINIMAL)
    here: Any = config
    *above, last = section.path
    for key, following in zip(above, section.path[1:], strict=True):
        name = "bot" if key == ANY else key
        here = here.setdefault(name, [] if following == ANY and is_array(section, key) else {})
    if section.path[-1] != ANY and isinstance(here, dict):
        for key, needed in required_around(section).items():
            here.setdefault(key, needed)
    if isinstance(here, list):
        here.append({**required, **keys})
    else:
        name = NAMES[above[-1]] if last == ANY else last
        there = {key: each for key, each in here.get(name, {}).items() if INSTEAD.get(key) not in keys}
        here[name] = {**required, **there, **keys}
    return config


def required_around(section: Section) -> dict[str, object]:
    """What the table must hold in which this one stands, where it is not part of the minimum."""
    holders = [each for each in SECTIONS if each.path == section.path[:-1]]
    for each in holders:
        if section.path[-1] in {key.name for key in each.keys}:
            return {
                key.name: key.examples[0]
                for key in each.keys
                if key.is_required and key.name != section.path[-1]
            }
    return {}


def is_array(section: Section, key: str) -> bool:
    return section.header.startswith("[[") and section.path[-2] == key


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return list(value) if isinstance(value, list) else value


def text_of(config: dict[str, Any]) -> str:
    return "".join(f"{key} = {inline(value)}\n" for key, value in config.items())


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_says_what_it_is_for_with_an_example(section: Section, key: Key) -> None:
    assert key.examples, f"{key.name} has no examples="
    assert re.fullmatch(r"[A-Z`].*[.]", key.description, re.DOTALL), "description= is one sentence or two"
    assert "value" not in key.kind.split(), f"{key.name} needs a Kind in config/fields.py"


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_example_is_accepted(etc: Etc, section: Section, key: Key) -> None:
    for example in key.examples:
        config = with_example(section, {**key.beside, key.name: example})
        assert key.name in text_of(config)
        etc.load(text_of(config))


def test_an_example_that_is_wrong_would_be_found(etc: Etc) -> None:
    (section,) = [each for each in SECTIONS if each.header == "[[bundles.NAME.on_change]]"]
    assert etc.problems(text_of(with_example(section, {"confirm": "soon"})))
    assert etc.problems(text_of(with_example(section, {"signal": "SIGHUP"})))


def test_the_sections_are_all_tables_that_the_mistakes_know() -> None:
    headers = [section.header for section in SECTIONS]
    assert headers[:2] == ["[daemon]", "[sources.NAME]"]
    assert {"[bundles.NAME.variables.VARIABLE]", "[[bundles.NAME.on_change]]"} <= set(headers)
    for section in SECTIONS:
        path = tuple(0 if part == ANY and section.header.startswith("[[") else part for part in section.path)
        assert {key.name for key in section.keys} <= set(known_keys(path))


def test_the_page_lists_every_key_under_its_table(page: str) -> None:
    parts = dict(re.findall(r'^\.SH "?(.*?)"?\n(.*?)(?=^\.SH)', page, re.MULTILINE | re.DOTALL))
    for section in SECTIONS:
        heading = section.header + (f", {section.tag[0]} = \\(dq{section.tag[1]}\\(dq" if section.tag else "")
        part = parts[heading.replace("-", "\\-")]
        assert re.findall(r"^\.TP\n\\fB(.*?)\\fR", part, re.MULTILINE) == [key.name for key in section.keys]
    for words in ("Time spans", "Windows of the week", "conf.d", "infinity"):
        assert words in page


def test_the_page_is_the_same_each_time_it_is_written(page: str) -> None:
    assert written() == page
    assert "SECRETSD.TOML 5 2023-11-14" in page


def test_man_finds_nothing_to_warn_of(page: str, tmp_path: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("man-db is not installed")
    file = tmp_path / "secretsd.toml.5"

    def warnings(text: str) -> str:
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", file],
            env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stderr

    assert warnings(page + ".NOSUCHMACRO x\n"), "the search finds nothing"
    assert warnings(page) == ""


def test_every_option_stands_in_the_file_of_all_options_and_any_line_of_it_is_toml(etc: Etc) -> None:
    text = written("--options")
    assert etc.load(text).bundles == {}
    examples = re.findall(r"^#(\w+ = .*)$", text, re.MULTILINE)
    assert {line.split(" = ")[0] for line in examples} == {
        key.name for section in SECTIONS for key in section.keys
    }
    for line in examples:
        tomllib.loads(line)
    assert re.findall(r"^#(\[.*?\])(?: |$)", text, re.MULTILINE) == [each.header for each in SECTIONS]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\"b\\c\n\x7f\u00e4", '"a\\"b\\\\c\\n\\u007f\u00e4"'),
        (True, "true"), (3, "3"), (Decimal("0.10"), "0.10"), ([], "[]"), ({}, "{}"),
        ({"a b": [1, {"c-d": "e"}], "": "x"}, '{ "a b" = [1, { c-d = "e" }], "" = "x" }'),
    ],
)  # fmt: skip
def test_values_are_written_as_toml_reads_them(value: object, text: str) -> None:
    assert inline(value) == text
    assert tomllib.loads(f"k = {text}", parse_float=Decimal)["k"] == value
