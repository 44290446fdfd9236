"""What the HTTP side asks of the rooms behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from secretsd.signing.errors import SigningError
from secretsd.signing.model import Answer, KeyVersion, Peer, Request

Answering = Callable[[Answer | SigningError], None]
Telling = Callable[[Mapping[str, Any] | SigningError], None]


class Caller(Protocol):
    """Who is at the other end of a connection; the desk keeps more of it."""

    peer: Peer


class Core(Protocol):
    """The desk. Calls come from the loop's thread, and so do its answers, maybe before the call returns."""

    @property
    def trouble(self) -> SigningError | None:
        """Why no key can be used at the moment; None while the token works."""

    def submit(self, caller: Any, request: Request, answer: Answering) -> None: ...

    def refuse(self, caller: Any, error: SigningError) -> None:
        """Notes a request that could not even be read."""

    def keys_of(self, caller: Any) -> tuple[str, ...]:
        """The names of the keys that the caller has any right to."""

    def versions(self, key: str) -> tuple[KeyVersion, ...]:
        """Of a configured key, oldest first. Raises: SigningError where it cannot be used."""


class Administration(Protocol):
    """What is done to keys rather than with them. Each call is authorized and audited there."""

    def keys(self, peer: Peer, answer: Telling) -> None: ...
    def generate(self, peer: Peer, name: str, answer: Telling) -> None: ...
    def import_key(self, peer: Peer, name: str, material: bytes, answer: Telling) -> None: ...
    def retire(self, peer: Peer, name: str, number: int, answer: Telling) -> None: ...
    def wrap(self, peer: Peer, name: str, number: int, answer: Telling) -> None: ...
    def unwrap(self, peer: Peer, name: str, blob: bytes, request_id: str, answer: Telling) -> None: ...
    def approvals(self, peer: Peer, answer: Telling) -> None: ...
    def approve(self, peer: Peer, request_id: str, answer: Telling) -> None: ...
    def unlock(self, peer: Peer, answer: Telling) -> None: ...
    def report(self, peer: Peer, answer: Telling) -> None: ...
