"""What HTTP and JSON cost on top of the desk, in CPU time of this thread."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

from secretsd.signing.http.connection import HttpConnection
from secretsd.signing.http.routes import Routes
from secretsd.signing.model import Answer
from tests.signing.http.fake_desk import CALLER

LIMIT_US = 60.0
COUNT = 2000
BODY = b'{"input":"%s"}' % (b"QUFB" * 24)
# What curl and most libraries send.
REQUEST = (
    b"POST /v1/transit/hmac/orders HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bot/1.0\r\nAccept: */*\r\n"
    b"X-Vault-Token: any\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (len(BODY), BODY)
)


def test_a_request_costs_at_most_60_us_of_cpu_beside_the_desk() -> None:
    answer = Answer(bytes(32), 1)
    desk = SimpleNamespace(submit=lambda _caller, _request, done: done(answer))
    written: list[bytes] = []
    transport: Any = SimpleNamespace(write=written.append, is_closing=lambda: False)

    async def measure() -> float:
        connection = HttpConnection(Routes(desk, None), CALLER, lambda: None)  # type: ignore[arg-type]
        connection.connection_made(transport)
        rounds = []
        for _ in range(5):
            started = time.thread_time()
            for _ in range(COUNT):
                connection.data_received(REQUEST)
            rounds.append((time.thread_time() - started) / COUNT * 1e6)
        return min(rounds)

    cost_us = asyncio.run(measure())
    print(f"{cost_us:.1f} us of CPU for parsing, routing, JSON in and JSON out")
    assert len(written) == 5 * COUNT
    assert all(data.startswith(b"HTTP/1.1 200 OK\r\n") for data in written)
    assert cost_us <= LIMIT_US
