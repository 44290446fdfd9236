"""The clocks that a source which asks a service goes by; tests bring their own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time as the fetch sees it: `monotonic` for deadlines, `wall` (seconds since the epoch) for dates."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], None]


SYSTEM_CLOCKS = Clocks(time.monotonic, time.time, time.sleep)
