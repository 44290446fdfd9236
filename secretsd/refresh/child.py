"""Starts a process of our own that talks to the conductor over its descriptor 0."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import secretsd

# The package's parent goes in by hand: isolated mode (-I) knows neither the environment nor the folder.
_BOOT = "import sys; sys.path.insert(0, sys.argv.pop()); from secretsd.{module} import main; main()"


async def start(
    module: str, theirs: socket.socket, *arguments: str, is_outsider: bool = False
) -> asyncio.subprocess.Process:
    """Runs `main` of the module `secretsd.MODULE`; its arguments are this process's pid and `arguments`.

    `theirs` becomes its descriptor 0. An outsider has none of the daemon's rights, and is not spared where
    memory runs out. Raises: OSError.
    """
    package_parent = str(Path(secretsd.__file__).parents[1])
    boot = (sys.executable, "-I", "-c", _BOOT.format(module=module))
    command = (*boot, str(os.getpid()), *arguments, package_parent)
    if is_outsider:
        launch = _BOOT.format(module="observe.launch").replace("pop()", "pop(1)")
        command = (sys.executable, "-I", "-S", "-c", launch, package_parent, str(os.getpid()), *command)
    return await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno())
