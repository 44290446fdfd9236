"""How long the notify helper takes from its start to its first answer: what systemd's activation adds.

    python -m tests.bench.notify_cold_start

Each round starts the program that secretsd-notify.service runs, on Debian's Python, with a request already
queued on its listening socket, and reads the answer. The request is refused, so that neither systemctl nor a
job is in the figure: interpreter, imports, the configuration and one exchange are.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.figures import Figure, table
from tests.programs import notify_helper

ROUNDS = 30
LAUNCHER = 'exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
REQUEST = {
    "operation": "act",
    "bundle": "b",
    "unit": "none.service",
    "generation": 1,
    "published_monotonic": 1,
}


def first_answer_ms(program: Path, directory: Path) -> float:
    path = directory / "notify.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen()
        client.connect(str(path))
        client.sendall(json.dumps(REQUEST).encode() + b"\n")
        uid = str(os.geteuid())
        options = ["--config", str(directory / "secretsd.toml"), "--trusted-uid", uid, "--peer-user", uid]
        command = ["sh", "-c", LAUNCHER, "sh", str(program), *options, "--idle", "0.01"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=listener.fileno(), stderr=subprocess.DEVNULL)
        reply = client.recv(65536)
        spent_ms = (time.perf_counter() - began) * 1000
        process.wait()
    if json.loads(reply)["code"] != "not-configured":
        raise SystemExit(f"unexpected answer: {reply.decode()}")
    return spent_ms


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = directory / "secretsd.toml"
        config.write_text('[[bundles.b.on_change]]\nunit = "bot.service"\naction = "reload"\n')
        config.chmod(0o644)
        program = notify_helper(directory)
        first_answer_ms(program, directory)  # the first round compiles
        figures = [first_answer_ms(program, directory) for _ in range(ROUNDS)]
    note = f"{ROUNDS} runs, packaging/libexec/notify-helper, as systemd starts it for a request"
    return [
        Figure("notify helper, start to first answer, median", statistics.median(figures), "ms", note=note),
        Figure("notify helper, start to first answer, worst", max(figures), "ms"),
    ]


if __name__ == "__main__":
    print(table(measure()))
