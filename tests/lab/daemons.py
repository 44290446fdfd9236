"""The only way in which tests start a daemon of secretsd on this machine: the canary gate looks at each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.canary.daemon import Watched
from tests.canary.gate import GATE

ROOT = Path(__file__).resolve().parents[2]
_ROLES = {"secretsd": "conductor", "secretsd.signing": "signer", "secretsd.shipping": "shipper"}


class DaemonProcess(subprocess.Popen[str]):
    """`python -m MODULE --config CONFIG` after `prefix`, from this checkout.

    `terminate` looks at it first. A signal that a test sends at its own moment is sent at that moment.
    """

    def __init__(
        self,
        module: str,
        config: Path,
        *,
        prefix: Sequence[str | Path] = (),
        launcher: Sequence[str] = (),
        **popen: Any,
    ) -> None:
        """`launcher` takes the place of `-m MODULE`: a daemon with a flaw. `popen` is for subprocess.Popen.

        It writes to files, or to pipes that `communicate` reads.
        """
        started = launcher or ("-m", module)
        super().__init__(
            [*prefix, sys.executable, *started, "--config", config], cwd=ROOT, text=True, **popen
        )
        streams = [popen.get(each) for each in ("stdout", "stderr")]
        logs = sorted({Path(stream.name) for stream in streams if hasattr(stream, "name")})
        self._watched = Watched(_ROLES[module], config, logs, self._living)
        GATE.watch(self._watched)

    def terminate(self) -> None:
        GATE.look_before_the_end(self._watched)
        super().terminate()

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002
        said = super().communicate(input, timeout)
        self._watched.said += "".join(filter(None, said))
        return said

    def _living(self) -> int | None:
        return self.pid if self.poll() is None else None


def run(module: str, config: Path, *, timeout_s: float = 60.0, **popen: Any) -> tuple[int, str]:
    """Exit code and all that was said by one that is to end by itself. Raises: TimeoutExpired."""
    with DaemonProcess(module, config, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen) as process:
        try:
            said = process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, str(said)
