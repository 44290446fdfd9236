"""What each command asks of the daemon, and what it makes of the answer."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.control.protocol import Reply
from secretsd.errors import ExitCode
from tests.cli import asking, documents
from tests.cli.fake_daemon import FakeDaemon, Request

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "control.sock") as fake:
        yield fake


def ctl(daemon: FakeDaemon, *arguments: str) -> tuple[int, str, str]:
    return asking.ctl(daemon.path, *arguments)


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        (["status"], {"command": "status"}),
        (["status", "trading-bot", "--json"], {"command": "status", "bundle": "trading-bot"}),
        (["plan"], {"command": "plan"}),
        (["diff", "bot"], {"command": "diff", "bundle": "bot"}),
        (["history", "bot"], {"command": "history", "bundle": "bot"}),
        (["cost", "--json"], {"command": "cost"}),
        (["reload"], {"command": "reload", "timeout": "60s"}),
        (["reload", "bot", "--timeout=2m"], {"command": "reload", "bundle": "bot", "timeout": "2m"}),
        (["rollback", "bot"], {"command": "rollback", "bundle": "bot", "timeout": "60s"}),
        (
            ["rollback", "bot", "--to", "5", "--reason", "new  key\nfails"],
            {"command": "rollback", "bundle": "bot", "to": 5, "reason": "new key fails", "timeout": "60s"},
        ),
        (["hold", "bot", "--reason", "why"], {"command": "hold", "bundle": "bot", "reason": "why"}),
        (["resume", "bot", "--timeout", "5s"], {"command": "resume", "bundle": "bot", "timeout": "5s"}),
        (["ack", "bot", "7"], {"command": "ack", "bundle": "bot", "generation": 7}),
        (["alert-test"], {"command": "alert-test"}),
        (["alert-test", "bot"], {"command": "alert-test", "bundle": "bot"}),
        (["wait", "bot"], {"command": "wait", "bundle": "bot", "timeout": "30s"}),
        (
            ["wait", "bot", "--max-age", "1h", "--allow-stale"],
            {
                "command": "wait",
                "bundle": "bot",
                "timeout": "30s",
                "max_age": "1h",
                "allow_stale": True,
            },
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_asks_what_it_says(daemon: FakeDaemon, arguments: list[str], request_: Request) -> None:
    code, _, said = ctl(daemon, *arguments)
    assert code == 0, said
    assert daemon.requests == [request_]


@pytest.mark.parametrize("name", ["reload", "rollback", "hold", "resume"])
def test_work_that_fell_short_is_told_with_its_reasons_on_stderr_and_by_its_code(
    daemon: FakeDaemon, name: str
) -> None:
    lines = ["bot: the last good generation stays", "  fix: correct the secret"]
    daemon.answer = lambda _: Reply(ExitCode.DATA, "0 of 1 bundles", {"lines": lines})
    assert ctl(daemon, name, "bot") == (
        65,
        "",
        "secretsctl: 0 of 1 bundles\n  bot: the last good generation stays\n    fix: correct the secret\n",
    )
    code, out, said = ctl(daemon, name, "bot", "--json")
    assert (code, said) == (65, "")
    assert json.loads(out) == {"schema": 1, "code": 65, "message": "0 of 1 bundles", "lines": lines}


def test_work_that_is_done_is_told_on_stdout(daemon: FakeDaemon) -> None:
    assert ctl(daemon, "hold", "bot") == (0, "bot: hold is done\n", "")


@pytest.mark.parametrize("name", ["status", "plan", "diff", "history"])
def test_a_refusal_is_one_line_and_never_a_document(daemon: FakeDaemon, name: str) -> None:
    daemon.answer = lambda _: Reply(ExitCode.REFUSED, "uid 4 may not", {"advice": "ask root"})
    assert ctl(daemon, name, "bot", "--json") == (77, "", "secretsctl: uid 4 may not: ask root\n")


@pytest.mark.parametrize("name", ["status", "plan", "diff", "history", "cost"])
def test_json_is_the_daemons_document_with_its_version(daemon: FakeDaemon, name: str) -> None:
    arguments = [name] if name in ("status", "plan", "cost") else [name, "trading-bot"]
    code, out, _ = ctl(daemon, *arguments, "--json")
    assert code == 0
    assert json.loads(out) == documents.ANSWERS[name]
    assert json.loads(out)["schema"] == 1


def test_names_are_one_a_line_and_nothing_else(daemon: FakeDaemon) -> None:
    assert ctl(daemon, "status", "--names") == (0, "arbitrage\nmarket-maker\nnew-bot\ntrading-bot\n", "")


def test_names_are_silent_where_they_may_not_be_seen_or_nobody_answers(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    daemon.answer = lambda _: Reply(ExitCode.REFUSED, "uid 4 owns no bundle")
    assert ctl(daemon, "status", "--names") == (77, "", "")
    assert asking.ctl(tmp_path / "nobody.sock", "status", "--names") == (75, "", "")


HOSTILE = "prod/\x1b]0;owned\x07bot"


def _hostile(request: Request) -> Reply:
    def bent(value: Any) -> Any:
        if isinstance(value, dict):
            return {bent(key) if key == "trading-bot" else key: bent(item) for key, item in value.items()}
        if isinstance(value, list):
            return [bent(item) for item in value]
        kept = value in ("loaded", "reload", "rollback", "PublishBundle", "KeepStale", "published")
        return HOSTILE if isinstance(value, str) and not kept and not value.startswith("20") else value

    body = documents.ANSWERS.get(request["command"], {"lines": [HOSTILE]})
    return Reply(ExitCode.OK, HOSTILE, bent(body))


@pytest.mark.parametrize(
    "name", ["status", "status x", "plan", "diff x", "history x", "schema x", "reload", "hold x"]
)
def test_no_name_from_outside_gives_a_terminal_orders(daemon: FakeDaemon, name: str) -> None:
    daemon.answer = _hostile
    code, written = asking.on_terminal(daemon.path, *name.split())
    assert code == 0, written
    assert "\\x1b]0;owned\\x07" in written, "what is tested did not happen"
    assert "\x1b]" not in written
    assert "\x07" not in written


@pytest.mark.parametrize("name", ["reload", "wait x"])
def test_no_message_from_outside_gives_a_terminal_orders(daemon: FakeDaemon, name: str) -> None:
    daemon.answer = lambda _: Reply(ExitCode.DATA, HOSTILE, {"lines": [HOSTILE]})
    code, written = asking.on_terminal(daemon.path, *name.split())
    assert code == 65
    assert "\\x1b]0;owned\\x07" in written
    assert "\x1b]" not in written


WORDS = " ".join(f"unbreakable-{number}" for number in range(40))


@pytest.mark.parametrize(
    "name", ["reload", "wait x", "status", f"status --{WORDS.replace(' ', ' --')}", "check-config WRONG"]
)
def test_a_long_line_is_broken_between_words_on_a_terminal_and_nowhere_else(
    daemon: FakeDaemon, tmp_path: Path, name: str
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[bundles.b]\n" + "".join(f'{word} = ""\n' for word in WORDS.split()))
    daemon.answer = lambda _: Reply(ExitCode.DATA, WORDS)
    arguments = [str(wrong) if word == "WRONG" else word for word in name.split()]
    path = None if name.startswith("check") else daemon.path
    code, written = asking.on_terminal(path, *arguments, columns=60)
    assert code != 0
    lines = written.replace("\r", "").splitlines()
    assert len(lines) > 3
    broken = [line for line in lines if len(line) > 60 and " " in line.strip()]
    assert broken == []
    _, out, err = asking.ctl(path, *arguments)
    assert (out + err).split() == written.split()
    assert (out + err).count("\n") < len(lines)


def test_colour_is_for_terminals_and_can_be_refused(daemon: FakeDaemon) -> None:
    assert "\x1b[" not in ctl(daemon, "status")[1]
    assert "\x1b[31m" in asking.on_terminal(daemon.path, "status")[1]
    assert "\x1b[" not in asking.on_terminal(daemon.path, "status", "--no-color")[1]
    assert "\x1b[" not in asking.on_terminal(daemon.path, "status", NO_COLOR="1")[1]
    assert "\x1b[" not in asking.on_terminal(daemon.path, "status", TERM="dumb")[1]


def test_a_terminal_without_unicode_gets_escapes_and_no_bug(daemon: FakeDaemon) -> None:
    body = documents.status({"bücher": documents.bundle()})
    daemon.answer = lambda _: Reply(body=body)
    code, out, said = asking.ctl(daemon.path, "status", PYTHONIOENCODING="ascii")
    assert (code, said) == (0, "")
    assert "b\\xfccher" in out


def slowly(seconds: float, code: ExitCode = ExitCode.OK) -> Any:
    def answer(request: Request) -> Reply:
        time.sleep(seconds)
        return Reply(code, "the end", documents.ANSWERS.get(request["command"], {}))

    return answer


@pytest.mark.parametrize("name", ["reload", "plan", "diff x", "rollback x", "resume x", "wait x"])
def test_a_spinner_turns_after_a_second_and_leaves_no_trace(daemon: FakeDaemon, name: str) -> None:
    daemon.answer = slowly(1.4)
    code, written = asking.on_terminal(daemon.path, *name.split())
    assert code == 0
    assert f"\r| {name.split(maxsplit=1)[0]}: " in written
    cleared = written.rindex("\r\x1b[K")
    assert "| " not in written[cleared:].replace("\r\x1b[K", "").split("\n")[0][:2]
    assert written.index(": ") < cleared, "it was cleared after it turned"


def test_no_spinner_turns_where_it_is_quick_or_nobody_looks(daemon: FakeDaemon) -> None:
    assert "\r|" not in asking.on_terminal(daemon.path, "reload")[1]
    daemon.answer = slowly(1.3)
    assert ctl(daemon, "reload") == (0, "the end\n", "")
    assert "\r|" not in asking.on_terminal(daemon.path, "reload", TERM="dumb")[1]


@pytest.mark.parametrize("name", ["reload", "plan"])
def test_an_interrupt_cleans_the_line_and_says_to_try_again(daemon: FakeDaemon, name: str) -> None:
    daemon.answer = slowly(3.0)
    sent: list[int] = []

    def interrupt(pid: int, written: str) -> None:
        if "\r|" in written and not sent:
            sent.append(pid)
            os.kill(pid, signal.SIGINT)

    code, written = asking.on_terminal(daemon.path, name, act=interrupt)
    assert sent
    assert code == 75
    assert "\r\x1b[K" in written
    assert not ESCAPE.sub("", written.split("\r")[-1]).startswith(tuple("|/-\\"))
    assert "Traceback" not in written


def test_a_reader_that_has_seen_enough_is_no_error_and_a_full_disk_is(daemon: FakeDaemon) -> None:
    line = " ".join(asking.command(daemon.path, "status"))
    shell = ["bash", "-c", f"set -o pipefail; {line} | true; echo $?; {line} >/dev/full; echo $?"]
    done = subprocess.run(shell, env=asking.environment(), capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "74"], done.stderr
    assert done.stderr == "secretsctl: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", ["status", "reload", "wait bot"])
def test_closed_streams_are_no_bug(daemon: FakeDaemon, closed: str, name: str) -> None:
    line = " ".join(asking.command(daemon.path, *name.split()))
    shell = ["bash", "-c", f"{line} {closed}"]
    done = subprocess.run(shell, env=asking.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bug" not in done.stderr
