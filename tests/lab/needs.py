"""What the lab needs of the machine that runs the tests."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from tests.lab import cgroups

# Each program and the Debian package that brings it.
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}


@functools.cache
def missing() -> str | None:
    """Why no lab machine can run here, with the fix; None when one can."""
    if os.geteuid() != 0:
        return "lab machines need root: run the tests as root"
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"lab machines need {program}: apt-get install {package}"
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private"]
    probe = [*namespaces, "mount", "-t", "tmpfs", "probe", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"lab machines need namespaces and mounts, which this machine refuses: {done.stderr.strip()}"
    try:
        cgroups.remove(cgroups.make())
    except OSError as error:
        return f"lab machines need a control group of their own: {error.strerror}"
    return None
