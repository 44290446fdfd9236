"""What a daemon in the wrong hands could do: run inside its sandbox, it tries, and writes down what it got.

It is copied into the lab machine and runs there as an ExecStartPre= of secretsd.service.
"""

from __future__ import annotations

import contextlib
import json
import os

REPORT = "/var/lib/secretsd/probe.json"
FOLDERS = (
    "/etc",
    "/run",
    "/dev",
    "/var",
    "/tmp",
    "/home",
    "/root",
    "/sys",
    "/boot",
    "/usr/lib/systemd",
    "/srv",
)


def taken(path: str) -> bool:
    """Whether the file at `path` could be given another owner; it keeps the one it has."""
    # What the daemon's system call filter leaves of the chown family works on a descriptor.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fchown(descriptor, os.getuid(), -1)
    finally:
        os.close(descriptor)
    return True


def writable(path: str) -> bool:
    os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    return True


def planted(path: str) -> bool:
    os.mkdir(f"{path}/planted-by-the-probe")
    os.rmdir(f"{path}/planted-by-the-probe")
    return True


def main() -> None:
    got: dict[str, list[str]] = {"taken": [], "written": [], "planted": []}
    for top in FOLDERS:
        for folder, _, files in os.walk(top):
            attempts = [(folder, "taken", taken), (folder, "planted", planted)]
            for name in files:
                path = os.path.join(folder, name)
                attempts += [(path, "taken", taken), (path, "written", writable)]
            for path, kind, attempt in attempts:
                with contextlib.suppress(OSError):
                    if attempt(path):
                        got[kind].append(path)
    for path in ("/etc/shadow", "/etc/passwd", "/run/open/file"):
        for call in (os.chown, os.lchown):
            with contextlib.suppress(OSError):
                call(path, os.getuid(), -1)
                got["taken"].append(path)
    with open(REPORT, "w", encoding="utf-8") as report:
        json.dump(got, report)


if __name__ == "__main__":
    main()
