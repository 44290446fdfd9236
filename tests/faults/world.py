"""One daemon and every kind of source behind a fault proxy of its own: the world of the outage table."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.faults.kinds import PARTS, Kind, ParameterStore, SecretsManager, Vault, bundle, value
from tests.faults.outage_table import Column, Nameless, Row
from tests.lab import dialects
from tests.lab.aws import FAKE_CREDENTIALS, FakeAws
from tests.lab.foreground import ForegroundDaemon
from tests.lab.openbao import OpenBao
from tests.lab.proxy import FaultProxy
from tests.lab.tls import Authority
from tests.monitor.asking import ask

_NOWHERE = "https://secrets.nowhere.invalid"


class World:
    """The daemon, and all kinds of sources by column. `number` is that of the last rotation."""

    def __init__(self, folder: Path, kinds: dict[Column, Kind], authority: Authority) -> None:
        self.kinds = kinds
        self.told = ""  # all that monitors have read
        self.number = -1
        environment = {
            **FAKE_CREDENTIALS,
            "AWS_CA_BUNDLE": str(authority.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
            # Where a machine has no name server, a name that does not resolve takes no longer than here.
            "RES_OPTIONS": "timeout:1 attempts:1",
        }
        self.daemon = ForegroundDaemon(folder, self._configuration(frozenset()), environment)

    def _configuration(self, nameless: frozenset[Column]) -> str:
        text = ""
        for column, kind in self.kinds.items():
            text += kind.source(_NOWHERE if column in nameless else kind.proxy.url) + bundle(kind)
        return text

    def break_(self, row: Row) -> None:
        """The fault befalls every kind of source at once."""
        nameless = frozenset(column for column, fault in row.faults.items() if isinstance(fault, Nameless))
        self.daemon.configure(self._configuration(nameless))
        for column, kind in self.kinds.items():
            fault = row.faults.get(column)
            if fault is not None and not isinstance(fault, Nameless):
                kind.proxy.set(fault)

    def mend(self) -> None:
        for kind in self.kinds.values():
            kind.proxy.clear()
        self.daemon.configure(self._configuration(frozenset()))

    def begin_anew(self) -> None:
        """All is well, and the daemon knows nothing of what was before."""
        self.mend()
        self.daemon.stop()
        self.daemon.start()

    def rotate(self) -> None:
        # moto dates versions in whole seconds, and newer is what has a later date.
        time.sleep(math.ceil(time.time()) - time.time())
        self.number += 1
        for kind in self.kinds.values():
            kind.rotate(self.number)

    def health(self) -> dict[Column, bool]:
        """Whether each bundle is well; an outage with good files in place makes nobody unready."""
        said = self.daemon.secretsctl("health", "--json")
        assert said.code == 0, said.text
        self.told += said.text + ask(self.daemon.run_dir / "metrics.sock", "/metrics")[1]
        (refresher,) = json.loads(said.text)["daemons"]
        states = {each["check"]: each["state"] for each in refresher["checks"]}
        return {column: states[f"bundle {column.value}"] == "ok" for column in self.kinds}

    def shows(self, column: Column) -> int:
        """The number of the rotation that is published. Raises: AssertionError where it is none, or torn."""
        kind, text = self.kinds[column], self.daemon.published(column.value)
        for number in range(self.number + 1):
            if text == "".join(f"{part.upper()}='{value(kind, number)}'\n" for part in PARTS):
                return number
        raise AssertionError(f"{column.value}: what is published is no good bundle")


@contextlib.contextmanager
def running(
    folder: Path, aws: FakeAws, replica: FakeAws, stale: FakeAws, openbao: OpenBao
) -> Iterator[World]:
    """The daemon has published the first rotation; the stale region has not heard of it."""
    authority = Authority(folder)
    openbao.allow("bundles", "secret/data/*")
    token = folder / "token"
    token.write_text(openbao.new_token("bundles"))
    token.chmod(0o600)
    with ExitStack() as stack:

        def behind_proxy(service: FakeAws) -> FaultProxy:
            return stack.enter_context(FaultProxy.local(service.address, authority=authority))

        vault = FaultProxy.local(("127.0.0.1", openbao.port), dialect=dialects.Vault(), authority=authority)
        kinds: dict[Column, Kind] = {
            Column.AWS: SecretsManager("aws", aws, behind_proxy(aws)),
            Column.FAILOVER: SecretsManager(
                "failover", aws, behind_proxy(aws), replica, behind_proxy(replica).url
            ),
            Column.STALE: SecretsManager(
                "stale", aws, behind_proxy(aws), stale, behind_proxy(stale).url, is_followed=False
            ),
            Column.SSM: ParameterStore("parameters", aws, behind_proxy(aws)),
            Column.VAULT: Vault("vault", openbao, stack.enter_context(vault), authority.ca_file, token),
        }
        world = World(folder, kinds, authority)
        world.rotate()
        world.rotate()
        stack.enter_context(world.daemon)
        yield world
