"""Runs one alert command for one event, with as little of the daemon in it as can be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

TIMEOUT_S = 30.0

_SETPRIV = "/usr/bin/setpriv"  # util-linux: on every Debian
# The daemon's CAP_CHOWN would pass to it, and with that any published file. Nor may it outlive the daemon.
_WITHOUT_RIGHTS = (_SETPRIV, "--ambient-caps=-all", "--pdeathsig=KILL", "--")
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
            *_WITHOUT_RIGHTS,
            *command,
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
    """Told here, since setpriv's own exit code says little."""
    for path in (_SETPRIV, program):
        if not os.path.isfile(path):
            return "cannot be run: there is no such file" if path == program else f"needs {path}: util-linux"
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
