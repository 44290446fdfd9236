"""make demo"""

from __future__ import annotations

import sys
import time

from tests.demo.foreground import ForegroundStage
from tests.demo.installed import InstalledStage
from tests.demo.stage import Stage
from tests.demo.story import tell
from tests.lab import needs


def main() -> int:
    """0 when everything that was shown came true."""
    missing = needs.missing()
    stage: Stage
    if missing is None:
        print("Setting up a Debian 12 with systemd in a container, and the package; minutes the first time.")
        stage = InstalledStage()
    else:
        print(f"No real systemd here ({missing}): the daemon runs in the foreground instead.")
        stage = ForegroundStage()
    with stage:
        began = time.monotonic()
        failed = tell(stage)
        verdict = "Something is broken, see above." if failed else "All of it held."
        print(f"\n{verdict} {time.monotonic() - began:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main())
