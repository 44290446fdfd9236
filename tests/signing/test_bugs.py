"""A bug in one request: its client is answered, the journal hears of it, and nothing stays under way."""

from __future__ import annotations

import asyncio
import os
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from secretsd.signing.desk import Caller, Desk
from secretsd.signing.model import KeyType, KeyVersion, Operation, Request
from secretsd.signing.native import NativeConnection
from secretsd.signing.peer import identify
from secretsd.signing.trail import Trail
from tests.signing.peers import BOT, peer, policy, signer
from tests.signing.test_native import answer, request

TEXT = "what a client sent"
KEYS: dict[str, Any] = {
    "hot": {"type": "hmac", "operations": ["hmac"], "allow": [{"user": "bot"}], "audit": "batched"}
}


def broken(*_: Any, **__: Any) -> Any:
    raise AttributeError(TEXT)


@pytest.mark.parametrize("step", ["uses", "intent"])
def test_a_bug_before_the_token_is_asked_is_answered_and_leaves_nothing_under_way(
    step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = SimpleNamespace(append=lambda _: None, trouble=None)
    token = SimpleNamespace(keys={"hot": (KeyVersion("hot", 1, KeyType.HMAC, None, False),)}, problems={})
    dispatcher = SimpleNamespace(submit=lambda job: job.done(b"mac"), trouble=None)
    trail = Trail(cast("Any", log), lambda: None)
    desk = Desk(signer(KEYS), policy(KEYS), cast("Any", token), cast("Any", dispatcher), trail)
    caller, answers = Caller(peer(BOT), os.pidfd_open(os.getpid())), list[Any]()
    monkeypatch.setattr(trail, step, broken)
    desk.submit(caller, Request(Operation.HMAC, "hot", b"m"), answers.append)
    monkeypatch.undo()
    assert ([each.code for each in answers], desk.under_way) == (["bug"], 0)
    (said,) = caplog.records
    assert "AttributeError" in repr(vars(said))
    assert TEXT not in repr(vars(said))
    desk.submit(caller, Request(Operation.HMAC, "hot", b"m"), answers.append)
    assert (answers[-1].payload, desk.under_way) == (b"mac", 0)
    caller.close()


def test_a_bug_beneath_the_native_socket_leaves_no_client_without_an_answer() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    theirs.settimeout(10)

    async def served() -> tuple[int, str]:
        desk = SimpleNamespace(submit=broken)
        connection = NativeConnection(ours, cast("Any", desk), identify(ours), lambda: None)
        await asyncio.to_thread(theirs.send, request(7))
        said = await asyncio.to_thread(answer, theirs)
        connection.close()
        return said

    with theirs:
        assert asyncio.run(served()) == (7, "bug")
