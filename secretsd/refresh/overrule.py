"""An operator overrules the source: hold, rollback, resume."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from secretsd.errors import TryAgainError
from secretsd.model import Hold, PublishRecord
from secretsd.refresh.bundles import Bundles
from secretsd.refresh.files import published
from secretsd.refresh.hold import new_hold, new_rollback, rollback_target

log = logging.getLogger(__name__)


async def hold(bundles: Bundles, name: str, *, by: str, reason: str) -> Hold:
    """Keeps what is published, whatever the source says. Durable when it returns.

    A rollback that is in force becomes a hold, which only `resume` ends.
    Raises: TryAgainError where nothing is published.
    """
    # As for a rollback: what a worker has been told to publish is what will be there to keep.
    await bundles.restores.settled(name)
    shown, former = _shown(bundles, name), bundles.states[name].entry.hold
    if former is not None and former.kind == "hold":
        reason = reason or former.reason  # who holds once more without a reason takes none away
    word = new_hold(shown, now=time.time(), by=by, reason=reason)
    if former is not None and former.digest != shown.digest:
        # A rollback that was decided and could not be shown yet: that content is what is to stay.
        word = replace(former, kind="hold", since=word.since, by=by, reason=reason)
    await bundles.notebook.hold(name, word)
    log.warning("bundle is held", extra={"bundle": name, "by": by, "reason": reason})
    bundles.changes.announce()
    return word


async def resume(bundles: Bundles, name: str, *, by: str) -> Hold | None:
    """Lets the source decide again. Durable when it returns the hold that ended; None for none."""
    ended = bundles.states[name].entry.hold
    await bundles.notebook.hold(name, None)
    if ended is not None:
        log.warning("bundle is no longer held", extra={"bundle": name, "by": by})
    bundles.changes.announce()
    return ended


async def rollback(bundles: Bundles, name: str, *, to: int | None, by: str, reason: str) -> Hold | str:
    """Decides that an earlier generation is to be shown; durable when it returns, shown a moment later.

    Or why there is none to go back to, as the end of a sentence. Raises: TryAgainError.
    """
    # A worker that has been told to publish will: what it shows then is what is rolled back from.
    await bundles.restores.settled(name)
    state, shown = bundles.states[name], _shown(bundles, name)
    runtime_dir = Path(bundles.config.daemon.runtime_dir)
    kept = published.kept_records(runtime_dir, name)
    target = rollback_target(kept, shown, state.entry.history, to)
    if isinstance(target, str):
        return target
    former = state.entry.hold
    # What the source has now is what is refused, also where it was held back or rolled back from before.
    refused = former.refused if former is not None and former.refused else ()
    refused = state.held_back or refused or state.versions or shown.versions
    word = new_rollback(target, shown, refused=refused, now=time.time(), by=by, reason=reason)
    await bundles.notebook.hold(name, word)
    fields = {"bundle": name, "from": shown.generation, "to": target.generation, "by": by, "reason": reason}
    log.warning("bundle is rolled back", extra=fields)
    bundles.changes.announce()
    return word


def _shown(bundles: Bundles, name: str) -> PublishRecord:
    record = bundles.states[name].record
    if record is None:
        raise TryAgainError(
            f"{name} is not published", advice=f"there is nothing to keep: secretsctl status {name}"
        )
    return record
