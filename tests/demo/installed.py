"""The stage on a real systemd: the package on a lab machine, the bot as a unit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import replica
from tests.lab.aws import FakeAws
from tests.lab.faults import UNAVAILABLE
from tests.lab.lab import Lab
from tests.lab.proxy import FaultProxy
from tests.system.machine import RELOAD, Machine

_REGIONS = """
endpoint_url = "{home}"
failover_regions = ["us-west-2"]
failover_endpoint_urls = {{ us-west-2 = "{replica}" }}
"""
_BUILD_DEB = Path(__file__).resolve().parents[2] / "packaging" / "build-deb"


class InstalledStage:
    """`systemctl reload` reaches the bot through the notify helper."""

    place = 'Debian 12, a real systemd, secretsd from its package, the bot as a unit with action = "reload"'

    def __enter__(self) -> Self:
        built = subprocess.run([_BUILD_DEB], check=True, stdout=subprocess.PIPE, text=True)
        with ExitStack() as stack:
            aws = stack.enter_context(FakeAws.local())
            lab = stack.enter_context(Lab("bookworm", aws, deb=Path(built.stdout.splitlines()[-1])))
            self._aws, self._replica = aws, stack.enter_context(FakeAws.local())
            address = ("127.0.0.1", 5001)
            self._replica_proxy = stack.enter_context(
                FaultProxy(self._replica.address, lab.host.network, address)
            )
            self._machine = Machine(lab)
            self._machine.configure(
                source=_REGIONS.format(home=lab.proxy.url, replica=self._replica_proxy.url)
            )
            self.rotate({"API_KEY": "fake-key-1"})
            self._machine.add_bot("bot", None, RELOAD)
            self._machine.restart_secretsd()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def rotate(self, value: dict[str, object]) -> None:
        replica.put(self._aws, self._replica, "bot/production", value)

    @contextmanager
    def outage(self) -> Iterator[None]:
        with self._machine.proxy.broken(UNAVAILABLE), self._replica_proxy.broken(UNAVAILABLE):
            yield

    def outage_of_home(self) -> AbstractContextManager[object]:
        return self._machine.proxy.broken(UNAVAILABLE)

    def restart_daemon(self) -> None:
        self._machine.restart_secretsd()

    def secretsctl(self, *arguments: str) -> tuple[int, str]:
        return self._machine.secretsctl(*arguments)

    def published(self) -> str:
        return self._machine.host.sh("ls -lL /run/secretsd/bot/env; cut -d= -f1 /run/secretsd/bot/env")

    def tamper(self) -> None:
        file = "/run/secretsd/bot/env"
        edit = f"echo \"API_KEY='fake-key-of-somebody'\" > {file}"
        self._machine.host.sh(f"touch -r {file} /run/t && {edit} && touch -r /run/t {file}")

    def published_key(self) -> str:
        line = self._machine.host.sh("cat /run/secretsd/bot/env")
        return line.strip().partition("=")[2].strip("'")

    def start_bot(self) -> None:
        self._machine.host.systemctl("restart", "bot")

    def bot_saw(self) -> list[tuple[str, float]]:
        keys = [line.split(" ")[1] for line in self._machine.seen("bot")]
        return [(key, self._machine.seen_at("bot")) for key in keys]

    def set_up_token(self) -> None:
        self._machine.host.run(["/usr/libexec/secretsd/setup-softhsm"], timeout_s=90)

    def folder(self) -> str:
        return "/root"

    def write(self, path: str, content: bytes) -> None:
        self._machine.host.put(path, content)

    def read(self, path: str) -> bytes:
        return self._machine.host.read(path).encode(errors="surrogateescape")
