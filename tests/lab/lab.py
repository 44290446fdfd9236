"""The whole world of a system test: a machine, and in its network AWS behind a fault proxy, and IMDS."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.aws import FAKE_CREDENTIALS, FakeAws
from tests.lab.host import Host
from tests.lab.imds import FakeImds
from tests.lab.proxy import FaultProxy


class Lab:
    """`host` finds AWS at `proxy.url` and the metadata service at its usual address, both before it boots.

    `aws` is the same account seen from the test, past the proxy.
    """

    def __init__(self, suite: str, aws: FakeAws, *, deb: Path | None = None, booted: bool = True) -> None:
        self._boot = booted
        self._stack = ExitStack()
        self.aws = aws
        self.host = Host(suite, deb=deb, booted=False)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.host)
            self.proxy = stack.enter_context(FaultProxy(self.aws.address, self.host.network))
            self.imds = stack.enter_context(FakeImds(self.host.network))
            if self._boot:
                self.host.power_on()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def environment(self) -> dict[str, str]:
        """What a program in the machine needs to use this AWS with fixed credentials, without IMDS."""
        return {**FAKE_CREDENTIALS, "AWS_ENDPOINT_URL": self.proxy.url}
