"""A bot that follows its bundle without any unit: python -m tests.demo.watching_bot BUNDLE LOG

It notes the key that it has and when it took it, and acknowledges each generation that it has loaded.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    bundle, log, loaded = Path(sys.argv[1]), Path(sys.argv[2]), ""
    while True:
        target = os.readlink(bundle)
        if target != loaded:
            # The directory behind the link is one generation, whatever the link shows a moment later.
            text = (bundle.parent / target / "env").read_text(encoding="utf-8")
            key = dict(word.split("=", 1) for word in shlex.split(text))["API_KEY"]
            with log.open("a") as notes:
                notes.write(f"{key} {time.monotonic()}\n")
            acknowledge = [sys.executable, "-m", "secretsd.cli", "ack", bundle.name, Path(target).name]
            if subprocess.run(acknowledge, check=False).returncode == 0:
                loaded = target
        time.sleep(0.02)


if __name__ == "__main__":
    main()
