"""Runs one alert command for one event, with as little of the daemon in it as can be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import secretsd

TIMEOUT_S = 30.0

# The daemon's CAP_CHOWN would pass to it, and with that any published file. Nor may it outlive the daemon.
# The package's parent goes in by hand: isolated mode (-I) knows neither the environment nor the folder.
_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from secretsd.observe.launch import main; main()"
# Nothing of the daemon's: no credentials of AWS, no socket of systemd.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


async def run(command: tuple[str, ...], event: bytes, *, timeout_s: float = TIMEOUT_S) -> str:
    """Why `command` did not take the event, to follow its name in a sentence; empty if it took it.

    It has `event` on its standard input, and nobody reads what it prints: that may hold what it was given to
    reach somebody with, such as a webhook. Ends within `timeout_s`, by SIGKILL of the command's process
    group; a cancelled call kills it, too. Never raises but for cancellation.
    """
    if unfit := _unfit(command[0]):
        return unfit
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _BOOT, str(Path(secretsd.__file__).parents[1])),
            *(str(os.getpid()), *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be run: {os.strerror(error.errno or 0)}"
    try:
        async with asyncio.timeout(timeout_s):
            await process.communicate(event)
    except TimeoutError:
        await _kill(process)
        return f"was killed: it had not ended after {timeout_s:.0f} s"
    except BaseException:
        await _kill(process)
        raise
    return _told(process.returncode or 0)


def _unfit(program: str) -> str:
    """Told here, since an exit code of 127 says little."""
    if not os.path.isfile(program):
        return "cannot be run: there is no such file"
    return "" if os.access(program, os.X_OK) else "cannot be run: it is not executable for secretsd"


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:  # not reaped yet, so that its group is still its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _told(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by signal {-returncode}"
    return f"ended with {returncode}" if returncode else ""
