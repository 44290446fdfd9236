"""The gate itself: it sees what is planted, everywhere and in each form, and says so without showing it."""

from __future__ import annotations

import ast
import gzip
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary import allowed, planting
from tests.canary.daemon import Watched
from tests.canary.gate import Gate
from tests.canary.memory import Process
from tests.canary.scan import forms_in, shows
from tests.canary.spellings import MARKER, can_be_told, needles, needles_of, planted
from tests.canary.tally import Tally
from tests.lab.foreground import ForegroundDaemon
from tests.lab.processes import children_of

ROOT = Path(__file__).resolve().parents[2]
_PLANTED = [(form, text) for form, texts in planted(MARKER).items() for text in texts]
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

_BLINDED = ("memory of", "cmdline", "environ", "/metrics", "status", "gzip", "base64")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="reads other processes' memory: run the tests as root")


@pytest.mark.parametrize(
    ("form", "text"), _PLANTED, ids=[f"{form}-{n}" for n, (form, _) in enumerate(_PLANTED)]
)
def test_each_spelling_is_found_whatever_stands_around_it(form: str, text: bytes) -> None:
    found_as = "raw" if form == "JSON" else form
    assert found_as in forms_in(b"before" + text + b"after")
    assert f"gzip, {found_as}" in forms_in(gzip.compress(b"one\n") + gzip.compress(text))
    assert not forms_in(b"before" + text[: len(text) // 3] + b"after")


@as_root
@pytest.mark.parametrize(
    ("form", "text"), _PLANTED, ids=[f"{form}-{n}" for n, (form, _) in enumerate(_PLANTED)]
)
def test_each_spelling_is_found_in_the_memory_of_a_process(form: str, text: bytes) -> None:
    found_as = "raw" if form in ("JSON", "UTF-16", "UTF-32") else form
    with planting.keeping(text) as pid:
        (trace,) = set(Process(pid, "conductor").traces(needles(), Tally()))
    assert str(trace) == f"memory of conductor ({found_as})"


def test_a_secret_without_the_mark_is_learned_if_it_can_be_told_from_other_text() -> None:
    learned = needles_of(["tr0ub4dor&3", "abc", "xxxxxxxxxxxxxxxx", MARKER])
    assert forms_in(b"..tr0ub4dor&3..", learned) == {"raw"}
    assert not forms_in(b"abc xxxxxxxxxxxxxxxx", learned)
    assert not can_be_told("abc")
    assert len(learned) == 2 * len(needles()), "what has the mark is found by the mark"


@as_root
def test_a_daemon_that_leaks_everywhere_is_found_out_in_every_place() -> None:
    planting.prove()


@as_root
@pytest.mark.parametrize("blinded", _BLINDED)
def test_a_gate_that_is_blind_for_one_place_or_form_does_not_open(
    blinded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    see = Watched.traces

    def see_less(*arguments: object) -> Iterator[object]:
        yield from (trace for trace in see(*arguments) if blinded not in str(trace))  # type: ignore[arg-type]

    monkeypatch.setattr(Watched, "traces", see_less)
    with pytest.raises(AssertionError, match=f"is blind for .*{blinded}"):
        planting.prove()


def test_what_is_allowed_is_a_closed_list() -> None:
    for path in (".generations/bot/7/env", ".copies/bot/7/deep/env", ".copies/bot/.new-ab/env"):
        assert allowed.in_runtime_dir(f"/{path}")
        assert allowed.on_machine(f"/run/secretsd/{path}")
    for path in (".copies/bot/7/record.json", ".confirmed/bot", "control.sock", "core", "bot.log", ".lock"):
        assert not allowed.in_runtime_dir(f"/{path}")
    for path in ("/var/lib/secretsd/journal.json", "/etc/secretsd/secretsd.toml", "/run/bots.log", "/core"):
        assert not allowed.on_machine(path)


@pytest.fixture
def cores_are_files() -> Iterator[None]:
    """Where the kernel hands cores to a program, none of them would lie where a test can find it."""
    before = _CORE_PATTERN.read_text()
    if before.startswith(("|", "/")):
        _CORE_PATTERN.write_text("core")
    yield
    if _CORE_PATTERN.read_text() != before:
        _CORE_PATTERN.write_text(before)


@as_root
def test_a_core_shows_what_a_process_had_and_is_found(tmp_path: Path, cores_are_files: None) -> None:
    with planting.leaking(tmp_path) as (daemon, _):
        assert daemon.pid is not None
        os.kill(daemon.pid, signal.SIGABRT)
        assert _end_of(daemon.pid) == os.CLD_DUMPED
        (core,) = (tmp_path / "state").glob("core*")
        found = {str(trace) for trace in daemon.traces(needles(), Tally())}
    assert {f"{core} ({form})" for form in needles().values()} <= found


@as_root
def test_an_abort_of_the_daemon_leaves_no_core(tmp_path: Path, cores_are_files: None) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "bot.json").write_text(f'{{"API_KEY": "{MARKER}"}}')
    with ForegroundDaemon(tmp_path, _CONFIGURATION.format(folder=tmp_path), {}) as daemon:
        assert daemon.secretsctl("wait", "bot").code == 0
        assert daemon.published("bot") == f"API_KEY='{MARKER}'\n"
        (zygote,) = children_of(daemon.pid)
        for pid in (zygote, daemon.pid):
            assert Path(f"/proc/{pid}/limits").read_text().count("Max core file size        0 ") == 1
        os.kill(daemon.pid, signal.SIGABRT)
        assert _end_of(daemon.pid) == os.CLD_KILLED, "killed, and not dumped"


def _end_of(pid: int) -> int:
    """How a child has ended: killed, or with a core. It can still be waited for."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_code


@as_root
def test_a_daemon_without_a_secret_shows_none_by_chance(tmp_path: Path) -> None:
    """What stands for a secret stands nowhere else: whatever is found is one."""
    with ForegroundDaemon(tmp_path, "", {}) as daemon:
        tally = Tally()
        watched = Watched("conductor", tmp_path / "secretsd.toml", [daemon.log], lambda: daemon.pid)
        assert list(watched.traces(needles(), tally)) == []
        assert (tally.processes, tally.answers) == (1, 5)
        assert tally.memory_bytes > 10 * 2**20
        assert list(Process(daemon.pid, "conductor").traces(needles("secretsd.toml"), tally)), (
            "it can be read"
        )


def test_a_gate_that_was_not_proved_does_not_look(tmp_path: Path) -> None:
    def blind() -> None:
        raise AssertionError("blind")

    gate = Gate(prove=blind)
    gate.watch(Watched("conductor", tmp_path / "secretsd.toml"))
    with pytest.raises(AssertionError, match="blind"):
        gate.end_body()


_CONFIGURATION = """
[sources.local]
type = "file"
directory = "{folder}/secrets"
[[bundles.bot.secrets]]
source = "local"
id = "bot.json"
[bundles.bot.variables]
API_KEY = {{}}
"""
_LEAKING = f"""
from pathlib import Path
import pytest
from tests.canary.daemon import Watched
from tests.canary.gate import GATE

def test_log(tmp_path):
    (tmp_path / "log").write_text("{MARKER}")
    GATE.watch(Watched("conductor", tmp_path / "c.toml", [tmp_path / "log"]))

def test_printed():
    GATE.learn({{"KEY": "tr0ub4dor&3"}})
    print("tr0ub4dor&3")

def test_clean():
    print("tr0ub4dor&3")

@pytest.mark.plants
def test_planted():
    print("{MARKER}")

@pytest.mark.plants
def test_not_planted():
    pass
"""


def test_a_test_that_leaves_a_secret_fails_and_the_report_does_not_show_it(tmp_path: Path) -> None:
    (tmp_path / "test_leaking.py").write_text(_LEAKING)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugins = ["-p", "tests.canary.plugin", "-p", "no:cacheprovider"]
    options = ["-q", "--rootdir", tmp_path, "--show-capture=no", *plugins]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "5 passed, 3 errors" in done.stdout, done.stdout
    for name in ("test_log", "test_printed", "test_not_planted"):
        assert f"ERROR at teardown of {name}" in done.stdout
    assert "log log (raw)" in done.stdout
    assert "what the test captured (raw)" in done.stdout
    assert "canary gate: 1 tests" in done.stdout
    assert not shows(done.stdout)
    assert "tr0ub4dor&3" not in done.stdout


# --- no daemon outside of the gate ---------------------------------------------------------------------


def _started_by_hand(code: str) -> list[str]:
    """The daemons whose command lines stand in `code`, as `-m MODULE`."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.List | ast.Tuple):
            words = [each.value if isinstance(each, ast.Constant) else None for each in node.elts]
            found += [
                str(module) for flag, module in itertools.pairwise(words)
                if flag == "-m" and module in ("secretsd", "secretsd.signing", "secretsd.shipping")
            ]  # fmt: skip
    return found


def test_no_test_starts_a_daemon_but_through_the_gate() -> None:
    assert _started_by_hand('run([python, "-m", "secretsd.signing", "--config"])') == ["secretsd.signing"]
    by_hand = {
        str(path.relative_to(ROOT)): found
        for path in (ROOT / "tests").rglob("*.py")
        if (found := _started_by_hand(path.read_text(encoding="utf-8")))
    }
    assert by_hand == {}, "start it with tests.lab.daemons.DaemonProcess, which the canary gate watches"
