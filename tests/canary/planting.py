"""Canaries put everywhere on purpose: whoever claims to have found nothing must first find these."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.canary.daemon import Watched
from tests.canary.scan import Trace
from tests.canary.spellings import MARKER, needles, planted
from tests.canary.tally import Tally

# A daemon that does everything wrong: it keeps its standard input, logs it, and tells it to whoever asks.
_PROGRAM = """
import os, resource, socket, sys, threading
os.chdir(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept = sys.stdin.buffer.read()
def serve(listener):
    while True:
        connection = listener.accept()[0]
        connection.recv(65536)
        connection.sendall(kept)
        connection.close()
for name in ("metrics.sock", "control.sock"):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("../run/" + name)
    listener.listen()
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
sys.stdout.buffer.write(kept + b"ready")
sys.stdout.flush()
threading.Event().wait()
"""
_ANSWERS = ("/metrics", "/healthz", "/readyz?json", "status", "cost")
_STATE = ("journal.json", "alerts.json", "audit/refresher.jsonl")
_RECORD = ".copies/bot/1/record.json"
_ALLOWED = (".generations/bot/1/env", ".copies/bot/1/env", ".copies/bot/.new-0/env")
_UP_S = 20.0


def prove() -> None:
    """Raises: AssertionError that names what the gate did not find, or should not have found."""
    with tempfile.TemporaryDirectory() as directory, leaking(Path(directory)) as (daemon, expected):
        found = {str(trace) for trace in daemon.traces(needles(), Tally())}
    blind = sorted(expected - found)
    assert not blind, f"the canary gate is blind for {', '.join(blind)}"
    wrong = sorted(trace for trace in found if any(place in trace for place in _ALLOWED))
    assert not wrong, f"the canary gate found what is where it belongs: {', '.join(wrong)}"


@contextlib.contextmanager
def leaking(directory: Path) -> Iterator[tuple[Watched, set[str]]]:
    """A daemon that shows a canary everywhere and in each form, and what is to be found of it.

    Its directory is `directory`/state, and there its core goes when it is aborted.
    """
    expected = {str(trace) for trace in _files(directory)}
    config, log = directory / "secretsd.toml", directory / "daemon.log"
    config.write_text(f'[daemon]\nstate_dir = "{directory}/state"\nruntime_dir = "{directory}/run"\n')
    with log.open("wb") as writes:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, directory / "state", MARKER],
            stdin=subprocess.PIPE,
            stdout=writes,
            env={"LEAKED": MARKER},
        )
    try:
        _hand_over(process, log)
        places = ("log daemon.log", *(f"{name} of conductor" for name in _ANSWERS))
        expected |= {str(Trace(place, form)) for place in places for form in set(needles().values())}
        in_memory = set(needles().values()) - {"UTF-16", "UTF-32"}  # which are found there as the text
        expected |= {str(Trace("memory of conductor", form)) for form in in_memory}
        expected |= {str(Trace(f"{part} of conductor", "raw")) for part in ("cmdline", "environ")}
        yield Watched("conductor", config, [log], lambda: process.pid), expected
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def keeping(content: bytes) -> Iterator[int]:
    """A process, by its pid, that has `content` in its memory, and nowhere else."""
    program = "import sys; kept = sys.stdin.buffer.readline(); print(1, flush=True); sys.stdin.buffer.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(content + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        yield process.pid


def _hand_over(process: subprocess.Popen[bytes], log: Path) -> None:
    """The canary in each form; returns when it is in its memory and its log, and its sockets answer."""
    assert process.stdin is not None
    process.stdin.write(b"\n".join(text for texts in planted(MARKER).values() for text in texts))
    process.stdin.close()
    until = time.monotonic() + _UP_S
    while not log.read_bytes().endswith(b"ready"):
        assert time.monotonic() < until, "the daemon that leaks did not start"
        time.sleep(0.005)


def _files(directory: Path) -> Iterator[Trace]:
    """Plants in files, and tells what is to be found of them."""
    state, run = directory / "state", directory / "run"
    for name in _STATE:
        yield _planted(state, name, MARKER.encode(), "raw")
    for form, texts in planted(MARKER).items():
        # What JSON does to the mark is nothing.
        found_as = "raw" if form == "JSON" else form
        for number, text in enumerate(texts):
            yield _planted(state, f"{form}-{number}", b"before" + text + b"after", found_as)
    packed = gzip.compress(b"a batch\n") + gzip.compress(MARKER.encode())
    yield _planted(state, "batch.jsonl.gz", packed, "gzip, raw")
    _planted(state, f"named/{MARKER}.jsonl", b"", "raw")
    yield Trace(f"a name in {state}/named/", "raw")
    yield _planted(run, _RECORD, MARKER.encode(), "raw")
    for name in _ALLOWED:
        _planted(run, name, MARKER.encode(), "raw")


def _planted(directory: Path, name: str, content: bytes, form: str) -> Trace:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Trace(str(path), form)
