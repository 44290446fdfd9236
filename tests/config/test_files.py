from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from secretsd.config.disk import MAX_FILE_BYTES
from secretsd.config.files import read_tables
from secretsd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.config.support import Etc

MARKER = "marker-0f4b-never-in-a-message"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to other users")


def problems(etc: Etc, *, trusted_owner: int | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_tables(etc.main, trusted_owner=trusted_owner)
    return [
        line.replace(f"{etc.directory}/", "").replace(str(etc.directory), ".")
        for line in caught.value.problems
    ]


def test_drop_ins_are_merged_in_the_order_of_their_names(etc: Etc) -> None:
    etc.write("[daemon]\nrefresh_jitter = '1s'\n[bundles.a]\nx = 1.10\n")
    etc.write("[bundles.c]\n", "conf.d/20-c.toml")
    etc.write("[bundles.b]\n\n[daemon]\nstate_dir = '/s'\n", "conf.d/10-b.toml")
    etc.write("this is not read", "conf.d/notes.txt")
    etc.write("nor this", "conf.d/.hidden.toml")
    tables = read_tables(etc.main)
    assert tables.data == {
        "daemon": {"refresh_jitter": "1s", "state_dir": "/s"},
        "bundles": {"a": {"x": Decimal("1.10")}, "b": {}, "c": {}},
    }
    assert list(tables.data["bundles"]) == ["a", "b", "c"]
    assert tables.place(("bundles", "b")) == f"{etc.directory}/conf.d/10-b.toml:1"
    assert tables.place(("daemon", "state_dir")) == f"{etc.directory}/conf.d/10-b.toml:4"
    assert tables.place(("bundles", "a", "x", 3, "none")) == f"{etc.main}:4"
    assert tables.place(("bundles", "a", "missing")) == f"{etc.main}:3"
    assert tables.place(("bundles",)) == f"{etc.main}:3"
    assert tables.place(("nothing", "here")) == f"{etc.main}:1"
    assert tables.place(()) == f"{etc.main}:1"


def test_keys_of_the_signer_may_stand_in_files_of_their_own(etc: Etc) -> None:
    etc.write("[signer]\npin = 'file:/p'\n[signer.keys.a]\ntype = 'hmac'\n")
    etc.write("[signer.keys.b]\nallow = []\n", "conf.d/10-b.toml")
    tables = read_tables(etc.main)
    assert tables.data["signer"] == {"pin": "file:/p", "keys": {"a": {"type": "hmac"}, "b": {"allow": []}}}
    assert tables.place(("signer", "keys", "b", "allow")) == f"{etc.directory}/conf.d/10-b.toml:2"
    assert tables.place(("signer", "keys", "b", "missing")) == f"{etc.directory}/conf.d/10-b.toml:1"
    assert tables.place(("signer", "pin")) == f"{etc.main}:2"

    etc.write("[signer.keys.a]\ntype = 'ed25519'\n[signer]\npin = 'file:/q'\n", "conf.d/20-a.toml")
    assert problems(etc) == [
        "conf.d/20-a.toml:1: signing key 'a' is already defined at secretsd.toml:3",
        "conf.d/20-a.toml:4: 'pin' is already defined at secretsd.toml:2",
    ]


def test_merging_leaves_no_file_of_its_own_in_repr(etc: Etc) -> None:
    etc.write(f"[bundles.a]\nx = '{MARKER}'\n")
    assert MARKER not in repr(read_tables(etc.main))


def test_an_empty_file_is_an_empty_configuration(etc: Etc) -> None:
    assert read_tables(etc.write("")).data == {}


def test_windows_line_ends_count_once(etc: Etc) -> None:
    etc.main.write_bytes(b"[daemon]\r\na = '''\r\nx'''\r\nb = 2\r\n")
    tables = read_tables(etc.main)
    assert tables.data == {"daemon": {"a": "x", "b": 2}}
    assert tables.place(("daemon", "b")) == f"{etc.main}:4"


def test_names_defined_twice_show_both_places(etc: Etc) -> None:
    etc.write("[daemon]\nstate_dir = '/s'\n[bundles.a]\n[sources.s]\n")
    etc.write("\n[bundles.a]\n[bundles.b]\n", "conf.d/1.toml")
    etc.write("[sources]\ns.type = 1\n[daemon]\nstate_dir = '/s'\n[bundles.b]\n", "conf.d/2.toml")
    assert problems(etc) == [
        "conf.d/1.toml:2: bundle 'a' is already defined at secretsd.toml:3",
        "conf.d/2.toml:2: source 's' is already defined at secretsd.toml:4",
        "conf.d/2.toml:4: 'state_dir' is already defined at secretsd.toml:2",
        "conf.d/2.toml:5: bundle 'b' is already defined at conf.d/1.toml:3",
    ]


def test_a_table_and_a_value_of_one_name_in_two_files_is_a_duplicate(etc: Etc) -> None:
    etc.write("bundles = 1\n[daemon]\n")
    etc.write("daemon = 2\n[bundles.x]\n", "conf.d/1.toml")
    assert problems(etc) == [
        "conf.d/1.toml:1: 'daemon' is already defined at secretsd.toml:2",
        "conf.d/1.toml:2: 'bundles' is already defined at secretsd.toml:1",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[bundles.a]\n\n[bundles.a]\n", "secretsd.toml:3: bundle 'a' is already defined at secretsd.toml:1"),
        ("[bundles.a]\nx = 1\nx = 2\n", "secretsd.toml:3: 'x' is already defined at secretsd.toml:2"),
        (
            "[bundles.a.variables]\nA = { min_length = 1 }\nA = {}\n",
            "secretsd.toml:3: 'A' is already defined at secretsd.toml:2",
        ),
        (
            "[bundles.a]\nvariables.B = {}\n[bundles.a.variables]\nA = { x = 1, x = 2 }\n",
            "secretsd.toml:3: is not valid TOML: cannot declare twice",
        ),
        ("x = " + "9" * 5000, "secretsd.toml: holds a number or a date that cannot be represented"),
        ("x = " + "[" * 3000, "secretsd.toml: is nested too deeply"),
        ("\nx = '''a", "secretsd.toml:2: is not valid TOML: a string is not closed"),
        ("\nx", "secretsd.toml:2: is not valid TOML: expected '=' after a key in a key/value pair"),
    ],
)
def test_a_file_that_tomllib_refuses(etc: Etc, text: str, line: str) -> None:
    etc.write(text)
    assert problems(etc) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"[daemon]\nx = '{MARKER}\n\n", 2),
        (f'[daemon]\nx = "{MARKER}\n\ny = 1', 2),
        (f"[daemon]\nx = '{MARKER}\ny = 'a'\n", 2),
        (f"[daemon]\n{MARKER}\n", 2),
        (f"[daemon]\nx = {MARKER}\n", 2),
        (f"[daemon]\nx = '''{MARKER}\n\n\n", 2),
        (f"[daemon\n# {MARKER}\n", 1),
        (f'\nx = "\\q{MARKER}"\n', 2),
        (f"x = '{MARKER}' '{MARKER}'", 1),
        ("\nx = 2024-13-01\n", 2),
        ("\ufeffx = 1", 1),
        (f"\na = {{ b = 1, b = '{MARKER}' }}", 2),
        (f"a = {{ b = 1 }}\n[a.c]\nx = '{MARKER}'\n", 2),
        (f"a.b = 1\n\n[a]\nx = '{MARKER}'\n", 3),
    ],
)
def test_a_mistake_of_syntax_has_its_line_and_quotes_nothing(etc: Etc, text: str, line: int) -> None:
    etc.write(text)
    (found,) = problems(etc)
    assert found.startswith(f"secretsd.toml:{line}: ")
    assert MARKER not in found


def test_every_file_that_cannot_be_used_is_named(etc: Etc) -> None:
    etc.main.write_bytes(b"[daemon]\nx = '\xff" + MARKER.encode())
    etc.write("[", "conf.d/1.toml")
    (etc.directory / "conf.d/2.toml").mkdir()
    (etc.directory / "conf.d/3.toml").symlink_to("gone")
    (etc.directory / "conf.d/4.toml").symlink_to("4.toml")
    os.mkfifo(etc.directory / "conf.d/5.toml")
    etc.write("#" * (MAX_FILE_BYTES + 1), "conf.d/6.toml")
    (etc.directory / b"conf.d/7\xff\n.toml".decode(errors="surrogateescape")).write_text("[")
    found = problems(etc)
    assert found[0] == "secretsd.toml:2: is not UTF-8; save the file as UTF-8"
    assert found[1].startswith("conf.d/1.toml:1: is not valid TOML: ")
    assert found[2:7] == [
        "conf.d/2.toml: is a directory; configuration is read from files only",
        "conf.d/3.toml: is a symbolic link to something that does not exist; correct or remove the link",
        "conf.d/4.toml: is a symbolic link that is not followed here; put what it points to in its place",
        "conf.d/5.toml: is not a regular file; configuration is read from files only",
        "conf.d/6.toml: is larger than 4 MiB",
    ]
    assert found[7].startswith("conf.d/7\\udcff\\n.toml:1: ")
    assert len(found) == 8


def test_a_missing_file_a_directory_and_a_missing_directory(etc: Etc) -> None:
    assert problems(etc) == ["secretsd.toml: does not exist"]
    etc.main.mkdir()
    assert problems(etc) == ["secretsd.toml: is a directory; configuration is read from files only"]
    etc.main = etc.directory / "none" / "x.toml"
    assert problems(etc) == ["none/x.toml: does not exist"]
    etc.write("", "file")
    etc.main = etc.directory / "file" / "x.toml"
    assert problems(etc) == ["file/x.toml: is not a directory, or is reached through something that is none"]


def test_a_drop_in_directory_that_is_none(etc: Etc) -> None:
    etc.write("")
    etc.write("", "conf.d")
    assert problems(etc) == ["conf.d: is not a directory, or is reached through something that is none"]
    (etc.directory / "conf.d").unlink()
    (etc.directory / "conf.d").symlink_to("gone")
    assert problems(etc) == [
        "conf.d: is a symbolic link to something that does not exist; correct or remove the link"
    ]


def test_links_are_followed_where_nobody_acts_on_the_files_with_more_rights(etc: Etc) -> None:
    etc.write("")
    etc.write("[bundles.a]\n", "elsewhere/a.toml")
    (etc.directory / "conf.d").mkdir()
    (etc.directory / "conf.d" / "a.toml").symlink_to("../elsewhere/a.toml")
    assert read_tables(etc.main).data == {"bundles": {"a": {}}}


def test_a_file_without_the_right_to_read_it_names_the_uid(etc: Etc, tmp_path: Path) -> None:
    etc.write("").chmod(0)
    reader = os.geteuid() or 65534
    with as_user(reader):
        found = problems(etc)
    # The directories around a test may be closed to others already; the answer is the same.
    assert found == [f"secretsd.toml: cannot be read by uid {reader}: permission denied"]


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    before = os.geteuid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


class TestTrustedOwner:
    """What the root helper relies on: nobody else can have written what it acts on."""

    @pytest.fixture(autouse=True)
    def _files(self, etc: Etc) -> None:
        etc.directory.chmod(0o755)
        etc.write("[bundles.a]\n").chmod(0o644)
        etc.write("[bundles.b]\n", "conf.d/b.toml").chmod(0o644)
        (etc.directory / "conf.d").chmod(0o755)

    def test_own_files_that_only_the_owner_writes_are_read(self, etc: Etc) -> None:
        assert read_tables(etc.main, trusted_owner=os.geteuid()).data == {"bundles": {"a": {}, "b": {}}}

    @pytest.mark.parametrize("name", [".", "secretsd.toml", "conf.d", "conf.d/b.toml"])
    @pytest.mark.parametrize("mode", [0o020, 0o002])
    def test_writable_by_others(self, etc: Etc, name: str, mode: int) -> None:
        path = etc.directory / name
        path.chmod(path.stat().st_mode | mode)
        assert problems(etc, trusted_owner=os.geteuid()) == [
            f"{name}: is writable by group or others: chmod go-w {name}"
        ]

    @needs_root
    @pytest.mark.parametrize("name", [".", "secretsd.toml", "conf.d", "conf.d/b.toml"])
    def test_owned_by_another(self, etc: Etc, name: str) -> None:
        os.chown(etc.directory / name, 65534, 0)
        assert problems(etc, trusted_owner=0) == [
            f"{name}: belongs to uid 65534 and must belong to uid 0: chown 0 {name}"
        ]

    @pytest.mark.parametrize("name", ["secretsd.toml", "conf.d", "conf.d/b.toml"])
    def test_a_link_could_be_redirected_by_who_writes_where_it_leads(self, etc: Etc, name: str) -> None:
        real = etc.directory / "real"
        (etc.directory / name).rename(real)
        (etc.directory / name).symlink_to(real)
        assert problems(etc, trusted_owner=os.geteuid()) == [
            f"{name}: is a symbolic link that is not followed here; put what it points to in its place"
        ]

    def test_a_file_of_another_kind(self, etc: Etc) -> None:
        os.mkfifo(etc.directory / "conf.d" / "c.toml")
        assert problems(etc, trusted_owner=os.geteuid()) == [
            "conf.d/c.toml: is not a regular file; configuration is read from files only"
        ]


def test_reading_leaves_no_descriptor_open(etc: Etc) -> None:
    etc.write("")
    (etc.directory / "conf.d").mkdir()
    (etc.directory / "conf.d" / "d.toml").mkdir()
    before = os.listdir("/proc/self/fd")
    problems(etc)
    assert os.listdir("/proc/self/fd") == before


def test_the_root_helper_gets_its_tables_without_pydantic() -> None:
    code = "import sys, secretsd.config.files, secretsd.config.units; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    foreign = (
        {name.split(".")[0] for name in loaded.split()} - sys.stdlib_module_names - {"secretsd", "__main__"}
    )
    # A virtual environment's own start-up hooks may load modules of theirs.
    assert "pydantic" not in foreign
    assert "pydantic_core" not in foreign
