"""What a former run has published, as this run takes it over."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from secretsd.model import PublishRecord, Showing


def not_before_now(record: PublishRecord | None) -> PublishRecord | None:
    """The record of a bundle that perhaps nobody was told of.

    Who published it may have been stopped before it read the clock. Now is late enough: a unit that has not
    loaded this generation is rather told twice than never.
    """
    return replace(record, published_monotonic=time.monotonic()) if record else None


def as_noted(record: PublishRecord | None, history: Sequence[Showing]) -> PublishRecord | None:
    """With the time that the run which published it has read, if that was written down.

    What it has restarted since is not restarted once more.
    """
    noted = {each.generation: each.published_monotonic for each in history}
    if record is None or (moment := noted.get(record.generation)) is None:
        return record
    return replace(record, published_monotonic=min(moment, record.published_monotonic))
