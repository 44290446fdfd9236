"""What is left out of the daemons is there for whoever asks for it later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "code",
    [
        "from secretsd import inotify; from watchdog.observers import Observer; Observer().start",
        "from secretsd import lean; lean.leave_out(); import ssl; ssl.create_default_context()",
        "from secretsd import lean; import asyncio; lean.leave_out(); assert asyncio.sslproto.ssl",
    ],
)
def test_who_imports_it_later_gets_it_whole(code: str) -> None:
    run(code)


def test_a_daemon_without_openssl_serves_and_connects() -> None:
    run("""
from secretsd import lean
lean.leave_out()
import asyncio, sys, tempfile
assert asyncio.sslproto.ssl is None
async def main():
    with tempfile.TemporaryDirectory() as place:
        path = place + "/socket"
        async def serve(reader, writer):
            writer.write(await reader.readline())
            writer.close()
        for serving, connecting in (
            (asyncio.start_unix_server(serve, path), lambda _: asyncio.open_unix_connection(path)),
            (asyncio.start_server(serve, "127.0.0.1"), lambda at: asyncio.open_connection(*at)),
        ):
            server = await serving
            reader, writer = await connecting(server.sockets[0].getsockname())
            writer.write(b"fake\\n")
            assert await reader.readline() == b"fake\\n"
            writer.close()
            server.close()
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0
asyncio.run(main())
""")


def test_a_plugin_of_pydantic_that_lies_in_the_path_is_not_run(tmp_path: Path) -> None:
    """One that is found runs in every process that has a model."""
    (tmp_path / "planted.py").write_text(
        "print('the plugin has run')\n"
        "class plugin:\n"
        "    def new_schema_validator(*_, **__): return None, None, None\n"
    )
    described = tmp_path / "planted-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[pydantic]\nplanted = planted:plugin\n")
    model = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pydantic; {_MODEL}"
    assert "the plugin has run" in run(model), "it would be found"
    assert "the plugin has run" not in run(f"from secretsd import lean; lean.leave_out(); {model}")


_MODEL = "pydantic.create_model('Fake', key=(int, 1))(key=2)"


def run(code: str) -> str:
    """Its standard output. Raises where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, timeout=60
    )
    return done.stdout
