"""How many nasty values survive the way from the server through an env file into a program.

For each value a file of its own, so that no value is spoilt by another. A value survives where the reader has
it exactly, and no other variable. secretsd refuses by name what its format cannot hold; the Agent writes what
its template says, so three templates are tried.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from secretsd.config.sources import VaultSource as Table
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.formats.interface import UnwritableError
from secretsd.refresh.formats.registry import FORMATS
from secretsd.refresh.messages import SourceJob
from secretsd.refresh.secret_object import parse_object
from secretsd.refresh.sources.registry import open_source
from tests.bench.figures import Figure
from tests.refresh.formats import readers
from tests.refresh.formats.readers import Reader, Systemd
from tests.refresh.formats.values import TRAPS

if TYPE_CHECKING:
    from tests.bench.openbao_agent import Agent
    from tests.lab.openbao import OpenBao
    from tests.system.machine import Machine

_NAME = "VALUE"
_TEMPLATES = {
    "as it is": "{{ .Data.data.VALUE }}",
    "in double quotes": '"{{ .Data.data.VALUE }}"',
    "by toJSON": "{{ .Data.data.VALUE | toJSON }}",
}


def measure(machine: Machine, server: OpenBao, agent: Agent) -> list[Figure]:
    values = _texts()
    for number, value in enumerate(values):
        server.put(f"nasty/{number}", {_NAME: value})
    written = {"secretsd, format env": _of_secretsd(server, len(values))}
    for name, template in _TEMPLATES.items():
        written[f"OpenBao Agent, {name}"] = _of_agent(agent, template, len(values))
    asked: dict[str, Reader] = {"dash": readers.dash, "systemd 252": Systemd(machine.host)}
    return [
        _figure(f"{who}, read by {name}", values, files, reader)
        for name, reader in asked.items()
        for who, files in written.items()
    ]


def _texts() -> list[str]:
    """The traps that are text: JSON holds nothing else. 60 KB of quotes fit into no secret."""
    found = []
    for trap in TRAPS:
        try:
            found.append(trap.decode())
        except UnicodeDecodeError:
            continue
    return [text for text in found if len(text.encode()) < 20_000]


def _of_secretsd(server: OpenBao, count: int) -> dict[int, bytes]:
    """What is published for each value, by the same steps as in a worker; what it refuses is not there."""
    place = server.directory / "bench-token"
    place.write_text(server.token)
    login = {"method": "token", "token": f"file:{place}"}
    table = Table.model_validate({"type": "vault", "address": server.unix_address, "login": login})
    refs = {SecretRef("bao", f"nasty/{number}"): number for number in range(count)}
    files = {}
    for found in open_source("bao", SourceJob(table)).fetch(list(refs), deadline=time.monotonic() + 60):
        assert isinstance(found, FetchedSecret), found
        members = parse_object(found.payload)
        assert isinstance(members, dict)
        try:
            rendered = FORMATS["env"].render({_NAME: str(members[_NAME]).encode()})
        except UnwritableError:
            continue
        files[refs[found.ref]] = rendered[""]
    return files


def _of_agent(agent: Agent, template: str, count: int) -> dict[int, bytes]:
    read = '{{{{ with secret "secret/data/nasty/{number}" }}}}{name}={template}{{{{ end }}}}\n'
    templates = [
        (read.format(number=number, name=_NAME, template=template), str(number)) for number in range(count)
    ]
    agent.configure(templates)
    with agent.running(count):
        return {number: (agent.out / str(number)).read_bytes() for number in range(count)}


def _figure(what: str, values: list[str], files: Mapping[int, bytes], reader: Reader) -> Figure:
    seen: Counter[str] = Counter()
    for number, value in enumerate(values):
        seen[_fate(value.encode(), files.get(number), reader)] += 1
    fates = ", ".join(f"{seen[fate]} {fate}" for fate in ("refused by name", "altered or lost", "injected"))
    return Figure(f"{what}: survive", seen["survived"], "", note=f"of {len(values)}; {fates}")


def _fate(
    value: bytes, content: bytes | None, reader: Callable[[Mapping[str, bytes]], Mapping[str, bytes]]
) -> str:
    if content is None:
        return "refused by name"
    found = reader({"": content})
    if found.keys() - {_NAME}:
        return "injected"  # another variable is set than the file is for
    return "survived" if found.get(_NAME) == value else "altered or lost"
