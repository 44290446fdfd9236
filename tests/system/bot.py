"""A bot for the tests: at its start and on each SIGHUP it notes in /run/bots/NAME.log which key it has.

It is copied into the lab machine and runs there: python3 -I bot.py NAME [deaf]
With "deaf" it has no handler for SIGHUP.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import time
from pathlib import Path

NAME = sys.argv[1]
LOG = Path("/run/bots") / f"{NAME}.log"
FILE = Path("/run/secretsd") / NAME / "env"


def note(event: str, key: str) -> None:
    with LOG.open("a") as log:
        log.write(f"{event} {key} {time.monotonic()}\n")


def tell_systemd(state: str) -> None:
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def main() -> None:
    hangups: list[int] = []
    if "deaf" not in sys.argv:
        signal.signal(signal.SIGHUP, lambda number, _frame: hangups.append(number))
    key = os.environ["API_KEY"]
    note("start", key)
    if key.endswith("-deadly"):
        tell_systemd("READY=1")
        sys.exit(1)
    tell_systemd("READY=1")
    while True:
        while not hangups:
            time.sleep(0.01)
        hangups.pop()
        fresh = dict(word.split("=", 1) for word in shlex.split(FILE.read_text(encoding="utf-8")))
        note("reload", fresh["API_KEY"])
        if fresh["API_KEY"].endswith("-deadly"):
            sys.exit(1)


if __name__ == "__main__":
    main()
