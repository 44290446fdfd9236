"""A monitor as anybody could write it, and what it reads of a page of metrics."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from secretsd.monitor.refresher import follow, monitor_of
from secretsd.refresh.files.memory import MemoryKind
from tests.refresh.daemon import Daemon, Home

Page = Mapping[str, float]  # series, as PromQL writes it -> value


def get(path: str) -> bytes:
    """As Prometheus asks."""
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode()


def split(answer: bytes) -> tuple[int, str]:
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), content.decode()


def page_of(text: str) -> Page:
    """Every sample; fails where the text is no OpenMetrics."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = float(sample.value)
    return found


def ask(path: Path, what: str) -> tuple[int, str]:
    """Status and body, from a daemon that is another process."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(get(what))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return split(answer)


class Watched(Daemon):
    """A conductor that serves its metrics socket."""

    def __init__(self, home: Home, *, ready: bool = True) -> None:
        super().__init__(home, ready=ready)
        self.monitor = monitor_of(self.conductor)
        self.path = self.conductor.config.metrics_socket

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        # pytest's directories may be on a disk, which is a caution of its own.
        self.conductor.memory = MemoryKind("tmpfs", is_memory=True)
        running = self.monitor.run(), follow(self.conductor, self.monitor)
        self._monitoring = asyncio.gather(*running)
        while not self.path.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._monitoring.cancel()
        await asyncio.gather(self._monitoring, return_exceptions=True)
        await super().__aexit__(*error)

    async def send(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        answer = await reader.read()
        writer.close()
        return answer

    async def ask(self, what: str) -> tuple[int, str]:
        return split(await self.send(get(what)))

    async def page(self) -> Page:
        status, text = await self.ask("/metrics")
        assert status == 200, text
        return page_of(text)

    async def health(self) -> tuple[int, dict[str, Any]]:
        """The status of /readyz, and its document."""
        import json

        status, text = await self.ask("/readyz?json")
        document: dict[str, Any] = json.loads(text)
        return status, document
