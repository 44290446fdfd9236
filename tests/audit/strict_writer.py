"""A process that writes strict records as fast as it can and says which ones were acknowledged.

    python -m tests.audit.strict_writer DIRECTORY FIRST COUNT

For each record that is acknowledged its request number, a line on stdout. Many wait at once. Ends by itself
after COUNT records.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from secretsd.audit import record
from secretsd.audit.log import AuditLog

_AT_ONCE = 16


async def main(directory: Path, first: int, many: int) -> None:
    """Writes, and waits, and says."""
    audit = AuditLog(directory, group=None)
    audit.open()
    use = record.use("sign", "hot-wallet", "sha2-256", record.DAEMON)
    requests = iter(count(first)) if not many else iter(range(first, first + many))

    async def client() -> None:
        for request in requests:
            done: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
            audit.append(record.intent(use, request, 1))
            audit.append(record.outcome(use, request, 1))
            audit.commit(done.set_result)
            if await done is None:
                os.write(1, b"%d\n" % request)

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    audit.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
