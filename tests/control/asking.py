"""A control server over a real conductor, and clients of any user."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Self

import pytest

from secretsd.control.protocol import Reply, decode_reply
from secretsd.control.server import ControlServer
from tests.refresh.daemon import Daemon, Home

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: connects as other users")

# It becomes who it is to be only after its modules are loaded: a stranger may not read them.
_CLIENT = """
import os, socket, sys
path, request, uid, groups = sys.argv[1:]
os.setgroups([int(group) for group in groups.split()])
os.setgid(int(uid))
os.setuid(int(uid))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(path)
    connection.sendall(request.encode() + b"\\n")
    while piece := connection.recv(65536):
        os.write(1, piece)
"""


class Served(Daemon):
    """A conductor with its control socket."""

    def __init__(self, home: Home, path: Path, *, ready: bool = True) -> None:
        super().__init__(home, ready=ready)
        self.path = path
        self.server = ControlServer(self.conductor)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.server.start(self.path)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.server.stop()
        await super().__aexit__(*error)

    async def ask(self, command: str, bundle: str | None = None, **request: object) -> Reply:
        """Asks as the user who runs the test."""
        return await self.send(line(command, bundle, **request))

    async def send(self, *pieces: bytes, pause_s: float = 0.0, half_close: bool = False) -> Reply:
        """Sends bytes as they are, a piece at a time."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        if half_close:
            writer.write_eof()
        data = await reader.read()
        writer.close()
        return decode_reply(data)

    async def ask_as(
        self, uid: int, command: str, bundle: str | None = None, *, groups: tuple[int, ...] = ()
    ) -> Reply:
        """Asks from a process of another user, as the kernel will tell it."""
        request = line(command, bundle).decode().rstrip()
        arguments = (str(self.path), request, str(uid), " ".join(map(str, groups)))
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", _CLIENT, *arguments, stdout=asyncio.subprocess.PIPE
        )
        data, _ = await client.communicate()
        return decode_reply(data)


def line(command: str, bundle: str | None = None, **request: object) -> bytes:
    document = {"command": command, **({"bundle": bundle} if bundle else {}), **request}
    return json.dumps(document).encode() + b"\n"
