"""A control socket that answers as a test wants it, and notes what it was asked.

    python -m tests.cli.fake_daemon SOCKET

serves the documents of tests.cli.documents there, a second after they were asked for, to look at the screens.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from secretsd.control.protocol import Reply, encode_reply
from secretsd.errors import ExitCode
from tests.cli.documents import ANSWERS

Request = dict[str, Any]
Answer = Callable[[Request], Reply]


class FakeDaemon:
    """Answers every request with what `answer` makes of it, in a thread of its own."""

    def __init__(self, path: Path, answer: Answer | None = None) -> None:
        self.path = path
        self.requests: list[Request] = []
        self.answer: Answer = answer or canned
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                line = connection.recv(4096)
                if not line:
                    return
                request = json.loads(line)
                self.requests.append(request)
                with contextlib.suppress(OSError):  # a client that was interrupted
                    connection.sendall(encode_reply(self.answer(request)))


def canned(request: Request) -> Reply:
    """The documents of tests.cli.documents; of a status only the bundle that was asked for."""
    command, name = request["command"], request.get("bundle")
    if command not in ANSWERS:
        return Reply(ExitCode.OK, f"{name}: {command} is done")
    body: Mapping[str, Any] = ANSWERS[command]
    if command == "status" and name is not None:
        if name not in body["bundles"]:
            return Reply(ExitCode.USAGE, f"no bundle {name!r}")
        body = {**body, "bundles": {name: body["bundles"][name]}}
    return Reply(body=dict(body))


def main() -> None:
    def slowly(request: Request) -> Reply:
        time.sleep(1.5 if request["command"] != "status" else 0)
        return canned(request)

    with FakeDaemon(Path(sys.argv[1]), slowly):
        threading.Event().wait()


if __name__ == "__main__":
    main()
