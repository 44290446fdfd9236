"""A bot that follows a rotation: it reads its secrets at the start, and again from the file on SIGHUP.

It says how many variables it holds and which, never a value. Standard library only, to be copied.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

ENV_FILE = Path(os.environ.get("EXAMPLE_BOT_ENV", "/run/secretsd/example-bot/env"))


def read_secrets(path: Path) -> dict[str, str]:
    """The variables of a file in secretsd's format "env", whose quoting is that of the shell.

    Raises: OSError, and ValueError when the text is not NAME=value lines.
    """
    # The kernel follows BUNDLE's symlink once per open: one file is always whole, of one generation.
    words = shlex.split(path.read_text(encoding="utf-8"), comments=True)
    return dict(word.split("=", 1) for word in words)


def tell_systemd(state: str) -> None:
    """sd_notify(3); does nothing outside of a unit with Type=notify."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(state.encode(), address)


def main() -> int:
    """Runs until SIGTERM."""
    stop, reread = threading.Event(), threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        (reread if number == signal.SIGHUP else stop).set()

    signal.signal(signal.SIGHUP, on_signal)
    signal.signal(signal.SIGTERM, on_signal)

    secrets = read_secrets(ENV_FILE)
    print(f"started with {len(secrets)} variables: {', '.join(sorted(secrets))}", flush=True)
    # Only now: before READY nobody may send us a signal.
    tell_systemd("READY=1")

    while not stop.wait(0.1):
        # Here the bot would trade with what is in `secrets`.
        if not reread.is_set():
            continue
        reread.clear()
        try:
            fresh = read_secrets(ENV_FILE)
        except (OSError, ValueError) as error:
            # Not the error's text: a parser's error can carry what it could not parse.
            print(
                f"reload failed ({type(error).__name__}), keeping the old secrets",
                file=sys.stderr,
                flush=True,
            )
            continue
        changed = sorted(
            name for name in fresh.keys() | secrets.keys() if fresh.get(name) != secrets.get(name)
        )
        secrets = fresh
        print(f"reloaded, changed: {', '.join(changed) or 'nothing'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
