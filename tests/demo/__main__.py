"""make demo"""

from __future__ import annotations

import contextlib
import sys
import time

from tests.demo.foreground import ForegroundStage
from tests.demo.installed import InstalledStage
from tests.demo.stage import Stage
from tests.demo.story import tell
from tests.lab import needs
from tests.lab.boot import BootError
from tests.lab.roots import RootBuildError


def main() -> int:
    """0 when everything that was shown came true."""
    with contextlib.ExitStack() as stack:
        stage = _on_a_real_systemd(stack) or stack.enter_context(ForegroundStage())
        began = time.monotonic()
        failed = tell(stage)
        verdict = "Something is broken, see above." if failed else "All of it held."
        print(f"\n{verdict} {time.monotonic() - began:.0f} s")
    return failed


def _on_a_real_systemd(stack: contextlib.ExitStack) -> Stage | None:
    """The better stage, where this machine can have it."""
    reason = needs.missing()
    if reason is None:
        print("Setting up a Debian 12 with systemd in a container, and the package; minutes the first time.")
        try:
            return stack.enter_context(InstalledStage())
        except (BootError, RootBuildError) as error:
            reason = str(error).splitlines()[0]
    print(f"No real systemd here ({reason}): the daemon runs in the foreground instead.")
    return None


if __name__ == "__main__":
    sys.exit(main())
