"""A real dispatcher over a real token, for tests of what happens when the token fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Self

from secretsd.config.signer import Signer
from secretsd.signing.dispatch import Dispatcher, Job
from secretsd.signing.errors import SigningError
from secretsd.signing.model import Hash, TokenCall, TokenMechanism
from secretsd.signing.pkcs11.lane import Lane
from secretsd.signing.pkcs11.token import Token
from tests.signing.softhsm import LABEL, MODULE, SoftHsm


def signer_config(softhsm: SoftHsm, keys: dict[str, dict[str, Any]], **others: Any) -> Signer:
    """A table [signer] for the token."""
    return Signer.model_validate(
        {
            "module": str(MODULE),
            "token": LABEL,
            "pin": f"file:{softhsm.pin_file}",
            "keys": keys,
            **others,
        }
    )


def hmac_key(**others: Any) -> dict[str, Any]:
    return {"type": "hmac", "operations": ["hmac", "verify"], **others}


class Running:
    """A dispatcher of the running loop."""

    def __init__(self, token: Token, *, inline: bool, sessions: int = 4, queue: int = 64) -> None:
        self.token = token
        self.dispatcher = Dispatcher(token, sessions=sessions, inline=inline, queue=queue, hang_limit_s=30.0)

    async def __aenter__(self) -> Self:
        self.dispatcher.bring_up()
        await self.until_up()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.dispatcher.stop()
        # The threads must be gone before another dispatcher of this process finalizes the module.
        await asyncio.to_thread(self.dispatcher.join, 5.0)
        self.token.close()

    async def until_up(self, timeout_s: float = 8.0) -> None:
        """Waits until a job gets through."""
        until_s = time.monotonic() + timeout_s
        while isinstance(await self.run(lambda _: b""), SigningError):
            assert time.monotonic() < until_s, "the token did not come back"
            await asyncio.sleep(0.02)

    async def run(self, work: Callable[[Lane], Any], key: str = "mac", timeout_s: float = 5.0) -> Any:
        """The result of the work, or the SigningError."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        deadline_ns = time.monotonic_ns() + round(timeout_s * 1e9)
        try:
            self.dispatcher.submit(Job(0, key, work, done.set_result, deadline_ns))
        except SigningError as error:
            return error
        return await done

    async def mac(self, key: str = "mac") -> Any:
        """An HMAC by the newest version of `key`, or the SigningError."""
        call = TokenCall(self.token.keys[key][-1], TokenMechanism.HMAC, b"message", Hash.SHA2_256)
        return await self.run(lambda lane: lane.sign(call), key)
