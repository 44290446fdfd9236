from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.notify.fake_systemd import INVOCATION, UNIT, shown
from tests.notify.running import CONFIG, DOES_NOT, HANDLES, RunningHelper, SpawnProgram, received

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acting as another uid needs root")


ARB = '[[bundles.arb.on_change]]\nunit = "arb.service"\naction = "reload"\n'


def drop_in(helper: RunningHelper, name: str, text: str, *, mode: int = 0o644) -> None:
    """A file in conf.d, as a bot's package brings it."""
    directory = helper.config.parent / "conf.d"
    directory.mkdir(mode=0o755, exist_ok=True)
    (directory / f"{name}.toml").write_text(text, encoding="latin-1")
    (directory / f"{name}.toml").chmod(mode)


# What it does


def test_a_configured_unit_is_acted_on_and_the_log_says_so(helper: RunningHelper) -> None:
    helper.start()
    reply = helper.act()
    assert (reply["outcome"], reply["invocation"], reply["main_pid"]) == ("acted", INVOCATION, 4711)
    line = helper.stop().splitlines()[-1]
    assert line.startswith(f"<6>trading-bot: reload {UNIT} for generation 7: acted (")
    assert f"peer pid {os.getpid()}" in line


def test_the_verb_is_the_bundles_own(helper: RunningHelper) -> None:
    helper.start()
    helper.systemd.becomes(shown(InvocationID="e" * 32), after="try-restart")
    assert helper.act("restarted")["invocation"] == "e" * 32
    assert [job.split()[-3] for job in helper.systemd.jobs] == ["try-restart"]


def test_a_signal_reaches_the_bot(helper: RunningHelper, program: SpawnProgram) -> None:
    bot = program(HANDLES)
    helper.systemd.shows(shown(MainPID=bot.pid))
    helper.start()
    assert helper.act("signalled")["outcome"] == "acted"
    assert bot.stdout is not None
    assert bot.stdout.readline() == "heard\n"


def test_a_bot_without_a_handler_survives_and_the_operator_learns_why(
    helper: RunningHelper, program: SpawnProgram
) -> None:
    bot = program(DOES_NOT)
    helper.systemd.shows(shown(MainPID=bot.pid))
    helper.start()
    reply = helper.act("signalled")
    assert reply["outcome"] == "failed"
    assert "no handler" in reply["message"]
    assert bot.poll() is None
    assert helper.stop().splitlines()[-1].startswith("<4>signalled: SIGHUP ")


def test_a_confirmation_acts_on_nothing(helper: RunningHelper) -> None:
    helper.start()
    request = {"operation": "confirm", "bundle": "trading-bot", "unit": UNIT}
    assert helper.ask(**request, invocation=INVOCATION)["outcome"] == "acted"
    assert helper.ask(**request, invocation="e" * 32, acted_monotonic=1.5)["outcome"] == "failed"
    assert helper.systemd.jobs == []


def ask_before(helper: RunningHelper, bundle: str = "asking") -> dict[str, Any]:
    return helper.ask(operation="before", bundle=bundle, unit=UNIT, generation=7)


def test_the_program_of_roots_configuration_is_run_as_the_bundles_owner(helper: RunningHelper) -> None:
    helper.start()
    assert ask_before(helper)["outcome"] == "willing"
    words = helper.systemd.run
    assert words[words.index("--") + 1 :] == ["/usr/local/bin/is-flat", "--bot", "$$x"]
    assert "--uid=nobody" in words
    assert f"--unit=secretsd-before:asking:{UNIT}" in words
    assert (
        helper.stop().splitlines()[-1].startswith(f"<6>asking: ask before {UNIT} for generation 7: willing (")
    )


def test_a_bundle_without_before_has_nothing_run(helper: RunningHelper) -> None:
    helper.start()
    reply = ask_before(helper, "trading-bot")
    assert (reply["outcome"], reply["code"]) == ("failed", "not-configured")
    assert helper.systemd.calls == []


@pytest.mark.parametrize("owner", ["root", "zq-x-none"])
def test_nothing_is_run_as_root_or_as_nobody_known(helper: RunningHelper, owner: str) -> None:
    helper.config.write_text(CONFIG.replace('"nobody"', f'"{owner}"'))
    helper.start()
    reply = ask_before(helper)
    assert (reply["outcome"], reply["code"]) == ("failed", "not-configured")
    assert helper.systemd.calls == []


@needs_root
def test_nothing_is_run_as_the_daemons_own_user(helper: RunningHelper) -> None:
    helper.start("--peer-user", str(NOBODY))
    reply = ask_before(helper)
    assert reply["code"] == "not-configured"
    assert "secretsd's own" in reply["message"]
    assert helper.systemd.calls == []


# What it refuses


@pytest.mark.parametrize(
    ("bundle", "unit"), [("trading-bot", "ssh.service"), ("other", UNIT), ("bundles", "x")]
)
@pytest.mark.parametrize("operation", ["act", "look", "before", "confirm"])
def test_what_root_has_not_configured_is_not_even_looked_at(
    helper: RunningHelper, operation: str, bundle: str, unit: str
) -> None:
    helper.start()
    fields: dict[str, dict[str, object]] = {
        "act": {"generation": 1, "published_monotonic": 1},
        "look": {"generation": 1, "published_monotonic": 1},
        "before": {"generation": 1},
        "confirm": {"invocation": INVOCATION},
    }
    reply = helper.ask(operation=operation, bundle=bundle, unit=unit, **fields[operation])
    assert (reply["outcome"], reply["code"]) == ("failed", "not-configured")
    assert helper.systemd.calls == []


def test_the_configuration_is_read_for_each_request(helper: RunningHelper) -> None:
    helper.start()
    assert helper.act()["outcome"] == "acted"
    helper.config.write_text("[bundles.trading-bot]\n")
    assert helper.act()["code"] == "not-configured"


def test_a_drop_in_of_a_bots_package_counts(helper: RunningHelper) -> None:
    drop_in(helper, "arb", ARB)
    helper.start()
    assert helper.act("arb", "arb.service")["outcome"] == "acted"


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (ARB + "x = \n", 0o644, "conf.d/arb.toml:4: is not valid TOML"),
        (ARB, 0o664, "conf.d/arb.toml: is writable by group or others"),
        (ARB + "x = '\N{LATIN SMALL LETTER A WITH DIAERESIS}'", 0o644, "conf.d/arb.toml:4: is not UTF-8"),
    ],
    ids=["unparsable", "untrusted", "latin-1"],
)
def test_one_broken_drop_in_does_not_keep_rotations_from_every_other_bot(
    helper: RunningHelper, text: str, mode: int, told: str
) -> None:
    drop_in(helper, "good", ARB.replace("arb", "good"))
    drop_in(helper, "arb", text, mode=mode)
    helper.start()
    assert helper.act()["outcome"] == "acted"
    assert helper.act("good", "good.service")["outcome"] == "acted"
    reply = helper.act("arb", "arb.service")
    assert (reply["outcome"], reply["code"]) == ("failed", "configuration")
    assert told in reply["message"]
    assert len(helper.systemd.jobs) == 2
    warnings = [line for line in helper.stop().splitlines() if line.startswith("<4>left out: ")]
    assert len(warnings) == 3
    assert all(told in line for line in warnings)


def test_a_bundle_defined_twice_stops_no_other_and_acts_as_its_first_definition_says(
    helper: RunningHelper,
) -> None:
    drop_in(helper, "copy", CONFIG.replace("restart", "reload"))
    drop_in(helper, "arb", ARB)
    helper.start()
    helper.systemd.becomes(shown(InvocationID="e" * 32), after="try-restart")
    assert helper.act("arb", "arb.service")["outcome"] == "acted"
    assert helper.act("restarted")["outcome"] == "acted"
    assert [job.split()[-3] for job in helper.systemd.jobs] == ["reload", "try-restart"]


def test_a_broken_drop_in_does_not_hide_that_a_bundle_names_no_such_unit(helper: RunningHelper) -> None:
    drop_in(helper, "arb", "[[\n")
    helper.start()
    assert helper.act(unit="ssh.service")["code"] == "not-configured"
    assert helper.act("unheard-of")["code"] == "configuration"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_configuration_that_others_can_write_is_not_acted_on(helper: RunningHelper, mode: int) -> None:
    helper.config.chmod(mode)
    helper.start()
    reply = helper.act()
    assert (reply["outcome"], reply["code"]) == ("failed", "configuration")
    assert str(helper.config) in reply["message"]
    assert helper.systemd.calls == []


@needs_root
def test_a_configuration_of_the_daemons_own_is_not_acted_on(helper: RunningHelper) -> None:
    os.chown(helper.config, NOBODY, NOBODY)
    helper.start()
    assert helper.act()["code"] == "configuration"
    assert helper.systemd.calls == []


@needs_root
def test_a_directory_in_which_another_could_exchange_the_files_is_not_trusted(helper: RunningHelper) -> None:
    os.chown(helper.config.parent, NOBODY, NOBODY)
    helper.start()
    assert helper.act()["code"] == "configuration"
    assert helper.systemd.calls == []


@needs_root
def test_drop_ins_that_another_could_exchange_are_not_acted_on_and_stop_nobody_else(
    helper: RunningHelper,
) -> None:
    drop_in(helper, "arb", ARB)
    os.chown(helper.config.parent / "conf.d", NOBODY, NOBODY)
    helper.start()
    assert helper.act("arb", "arb.service")["code"] == "configuration"
    assert helper.systemd.calls == []
    assert helper.act()["outcome"] == "acted"


def test_a_broken_configuration_is_an_answer_and_not_the_end(helper: RunningHelper) -> None:
    good = helper.config.read_text()
    helper.config.write_text("[[bundles\n")
    helper.start()
    assert helper.act()["code"] == "configuration"
    helper.config.write_text(good)
    assert helper.act()["outcome"] == "acted"


def as_uid(uid: int, path: str, request: bytes) -> bytes:
    """What a process of `uid` gets for `request`; the pytest process itself stays root."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(10)
            connection.connect(path)
            # A refusal does not wait for the request.
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(request)
            os.write(write_end, connection.recv(65536))
        except OSError as error:
            os.write(write_end, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with open(read_end, "rb") as pipe:
        return pipe.read()


@needs_root
def test_another_uid_is_refused_and_logged_and_nothing_is_done(helper: RunningHelper) -> None:
    helper.start()
    request = json.dumps(
        {"operation": "act", "bundle": "trading-bot", "unit": UNIT, "generation": 1, "published_monotonic": 1}
    ).encode()
    assert as_uid(NOBODY, helper.socket_path, request + b"\n") == b"PermissionError"
    os.chmod(helper.socket_path, 0o666)
    reply = json.loads(as_uid(NOBODY, helper.socket_path, request + b"\n"))
    assert (reply["outcome"], reply["code"]) == ("failed", "refused")
    assert helper.systemd.calls == []
    assert f"has uid {NOBODY}" in helper.stop()


@needs_root
def test_the_daemons_own_uid_and_root_may_ask(helper: RunningHelper) -> None:
    helper.start("--peer-user", str(NOBODY))
    os.chmod(helper.socket_path, 0o666)
    request = {
        "operation": "act",
        "bundle": "trading-bot",
        "unit": UNIT,
        "generation": 1,
        "published_monotonic": 100,
    }
    reply = as_uid(NOBODY, helper.socket_path, json.dumps(request).encode() + b"\n")
    assert json.loads(reply)["outcome"] == "acted"
    assert helper.act()["outcome"] == "acted"


@pytest.mark.parametrize(
    "request_",
    [
        b"\n",
        b"{}\n",
        b"not json\n",
        b"[" * 3000 + b"\n",
        b"\xff\xfe\n",
        b'{"operation":"act"}\n',
        b"\0" * 100 + b"\n",
    ],
)
def test_a_malformed_request_is_an_answer_and_not_the_end(helper: RunningHelper, request_: bytes) -> None:
    helper.start()
    reply = helper.ask_raw(request_)
    assert (reply["outcome"], reply["code"]) == ("failed", "usage")
    assert helper.act()["outcome"] == "acted"


def test_a_huge_request_is_refused_at_its_limit(helper: RunningHelper) -> None:
    helper.start()
    reply = helper.ask_raw(b"x" * 5_000_000)
    assert reply["code"] == "usage"
    assert "4096" in reply["message"]
    assert helper.act()["outcome"] == "acted"


def test_a_peer_that_says_nothing_or_drips_has_two_seconds(helper: RunningHelper) -> None:
    helper.start()
    with helper.connect() as silent, helper.connect() as dripping:
        began = time.monotonic()

        def drip() -> None:
            for _ in range(100):
                time.sleep(0.1)
                try:
                    dripping.sendall(b" ")
                except OSError:
                    return

        threading.Thread(target=drip).start()
        assert helper.act()["outcome"] == "acted"
        assert received(silent)["message"].startswith("no whole request came")
        assert received(dripping)["message"].startswith("no whole request came")
        assert time.monotonic() - began < 5


def test_a_peer_that_leaves_without_its_answer_does_no_harm(helper: RunningHelper) -> None:
    helper.start()
    for _ in range(5):
        helper.connect().close()
    assert helper.act()["outcome"] == "acted"


def test_passed_descriptors_are_not_kept(helper: RunningHelper) -> None:
    helper.start()
    assert helper.process is not None
    descriptors = Path(f"/proc/{helper.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        with helper.connect() as connection, open(os.devnull) as passed:
            socket.send_fds(connection, [b"{}\n"], [passed.fileno()] * 4)
            assert received(connection)["code"] == "usage"
    assert len(list(descriptors.iterdir())) <= before


# Many at once


def test_a_job_that_hangs_keeps_nobody_else_waiting(helper: RunningHelper) -> None:
    helper.systemd.hangs("try-restart", seconds=30)
    helper.start()
    with helper.connect() as slow:
        request = {"operation": "act", "bundle": "restarted", "unit": UNIT}
        slow.sendall(json.dumps({**request, "generation": 1, "published_monotonic": 100}).encode() + b"\n")
        began = time.monotonic()
        assert helper.act()["outcome"] == "acted"
        assert time.monotonic() - began < 10


def test_fifty_at_once_are_all_answered(helper: RunningHelper) -> None:
    helper.start()
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: helper.act(), range(50)))
    assert [reply["outcome"] for reply in replies] == ["acted"] * 50
    assert len(helper.systemd.jobs) == 50


def test_no_more_than_its_slots_work_at_once(helper: RunningHelper) -> None:
    helper.start()
    assert helper.process is not None
    silent = [helper.connect() for _ in range(40)]
    time.sleep(0.5)
    threads = len(list(Path(f"/proc/{helper.process.pid}/task").iterdir()))
    assert 20 <= threads <= 33
    # Those in the queue come to their turn once the first have been silent for too long.
    assert helper.act()["outcome"] == "acted"
    for connection in silent:
        connection.close()
