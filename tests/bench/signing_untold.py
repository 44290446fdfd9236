"""secretsd-signer without its trail, to compare: of what is asked nothing is on record.

python -m tests.bench.signing_untold --config FILE
"""

from __future__ import annotations

from secretsd.audit.log import AuditLog
from secretsd.signing.__main__ import main


def _forget(log: AuditLog, members: str) -> None:
    """In place of `append`."""


if __name__ == "__main__":
    AuditLog.append = _forget  # type: ignore[method-assign]
    main()
