from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from secretsd.notify import process
from secretsd.notify.process import Fate
from tests.notify.running import DOES_NOT, HANDLES, SpawnProgram

IGNORES = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);" + DOES_NOT
BLOCKS = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP]);" + DOES_NOT
ONE_THREAD_BLOCKS = """
import signal, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (HANDLES, Fate.HEARD),
        (DOES_NOT, Fate.DEADLY),
        (IGNORES, Fate.LOST),
        (BLOCKS, Fate.HEARD),
        (ONE_THREAD_BLOCKS, Fate.DEADLY),
    ],
)
def test_the_fate_of_a_signal_is_known_before_it_is_sent(
    program: SpawnProgram, source: str, expected: Fate
) -> None:
    assert process.fate(program(source).pid, signal.SIGHUP) is expected


def test_a_deadly_verdict_is_what_really_happens(program: SpawnProgram) -> None:
    bot = program(DOES_NOT)
    with process.held(bot.pid) as pidfd:
        process.send(pidfd, signal.SIGHUP)
    assert bot.wait(timeout=10) == -signal.SIGHUP


def test_a_signal_that_is_ignored_by_default_is_lost_and_not_deadly(program: SpawnProgram) -> None:
    assert process.fate(program(DOES_NOT).pid, signal.SIGWINCH) is Fate.LOST


def test_a_process_that_has_ended_is_said_to_have_ended() -> None:
    child = subprocess.Popen([sys.executable, "-ISc", "pass"])
    deadline = time.monotonic() + 10
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        process.fate(child.pid, signal.SIGHUP)  # a zombie
    child.wait()
    with pytest.raises(ProcessLookupError):
        process.fate(child.pid, signal.SIGHUP)
    with pytest.raises(ProcessLookupError), process.held(child.pid):
        pass


# Runs as PID 1 of a PID namespace of its own, where the next number can be chosen.
REUSED = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from secretsd.notify import process

def child(wanted):
    while True:
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(wanted - 1))
        pid = os.fork()
        if not pid:
            signal.pause()
        if pid == wanted:
            return pid
        os.kill(pid, 9); os.waitpid(pid, 0)

first = child(100)
with process.held(first) as pidfd:
    os.kill(first, 9); os.waitpid(first, 0)
    second = child(100)
    assert second == first
    try:
        process.send(pidfd, signal.SIGTERM)
    except ProcessLookupError:
        print("the old one is gone")
    time.sleep(0.1)
    assert os.waitpid(second, os.WNOHANG) == (0, 0)
print("the new one lives")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
def test_a_process_that_got_the_number_of_the_main_process_is_not_signalled() -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(process.__file__)))
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-ISc", REUSED, root],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.splitlines() == ["the old one is gone", "the new one lives"], done.stderr
