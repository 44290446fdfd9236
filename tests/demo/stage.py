"""What the story needs from the place where it is played."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self


class Stage(Protocol):
    """A host with secretsd and a bot, whose bundle is named "bot" and takes API_KEY."""

    place: str  # for people: where this plays

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def rotate(self, value: dict[str, object]) -> None:
        """Gives the bot's secret a new version in AWS, in both regions."""

    def outage(self) -> AbstractContextManager[object]:
        """AWS does not answer inside the context, in no region."""

    def outage_of_home(self) -> AbstractContextManager[object]:
        """The region of the secret does not answer inside the context."""

    def restart_daemon(self) -> None:
        """Stops secretsd and starts it anew."""

    def secretsctl(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and what was printed."""

    def published(self) -> str:
        """The bundle's file, as `ls -l` and the names in it, without values."""

    def tamper(self) -> None:
        """Somebody with root edits the published file in place, and restores its mtime."""

    def published_key(self) -> str:
        """The key in the published file."""

    def start_bot(self) -> None:
        """Starts the bot anew."""

    def bot_saw(self) -> list[tuple[str, float]]:
        """The keys that the bot has had, in order, each with when it took it (CLOCK_MONOTONIC, seconds)."""

    def set_up_token(self) -> None:
        """A token with a configured key of type ecdsa-p256 named "demo", and a signer that uses it."""

    def folder(self) -> str:
        """Where files of secretsctl can be."""

    def write(self, path: str, content: bytes) -> None: ...

    def read(self, path: str) -> bytes: ...
