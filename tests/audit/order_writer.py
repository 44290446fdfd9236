"""A process that gives orders as fast as it can and says which of them were on record before they were done.

    python -m tests.audit.order_writer DIRECTORY FIRST COUNT

It uses the refresher's trail as its control socket does, with files so small that they are full again and
again. For each order a line with its number on stdout. Many wait at once. Ends by itself after COUNT orders.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from secretsd.audit.ledger import Ledger
from secretsd.config.unusual import Unusual
from secretsd.errors import ExitCode
from secretsd.refresh.trail import Trail
from secretsd.signing.model import Peer
from secretsd.unusual.detector import Detector

_AT_ONCE = 16
_FILE_BYTES = 16 * 1024  # some 40 records
_OPERATOR = Peer(4242, 0, frozenset({0}), None, 123456)


async def main(directory: Path, first: int, many: int) -> None:
    """Orders, waits, and says."""
    trail = Trail(Ledger(directory, "refresher", max_file_bytes=_FILE_BYTES), Detector(Unusual()))
    trail.open()
    numbers = iter(count(first)) if not many else iter(range(first, first + many))

    async def operator() -> None:
        for number in numbers:
            order = trail.order("rollback", _OPERATOR, {"bundle": "bot", "generation": number})
            trail.begun(order)
            await trail.ledger.durable()
            os.write(1, b"%d\n" % number)
            trail.ended(order, ExitCode.OK, "")

    await asyncio.gather(*(operator() for _ in range(_AT_ONCE)))
    trail.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
