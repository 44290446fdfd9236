"""Publishing from sealed copies: after a boot, where a bundle's first round did not bring it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from secretsd.config.models import Bundle
from secretsd.errors import Failure
from secretsd.model import PublishRecord, Rejected
from secretsd.moments import in_words
from secretsd.refresh.files.restores import Restores
from secretsd.refresh.plan import UnsealBundle, plan
from secretsd.refresh.sealed.choice import choose
from secretsd.refresh.state import BundleState

log = logging.getLogger(__name__)


class Unsealing:
    """Tries a bundle's copy once after each of its rounds that failed, until something is published."""

    def __init__(self, states: Mapping[str, BundleState], restores: Restores) -> None:
        self._states = states
        self._restores = restores
        self._tried: dict[str, int] = {}  # bundle -> the number of the round after which it was tried

    def due(self, bundles: Mapping[str, Bundle]) -> dict[str, UnsealBundle]:
        """What is to be opened now, by bundle."""
        found = {}
        for name in bundles.keys() & self._states.keys():
            if (step := self._step(name, bundles[name])) is not None and self._restores.is_free(name):
                self._tried[name] = self._states[name].ended
                found[name] = step
        return found

    def is_attempted(self, name: str, bundles: Mapping[str, Bundle]) -> bool:
        """Whether the bundle's first round has ended, and no copy is about to be published after it."""
        state, bundle = self._states.get(name), bundles.get(name)
        if state is None or bundle is None:
            return True
        is_opening = state.record is None and self._restores.is_under_way(name)
        return state.ended > 0 and not is_opening and self._step(name, bundle) is None

    def _step(self, name: str, bundle: Bundle) -> UnsealBundle | None:
        state = self._states.get(name)
        if state is None or state.record is not None or not state.failures:
            return None
        if self._tried.get(name) == state.ended:
            return None
        seen = state.observed(result=Rejected(name, state.failures), intact=True)
        steps = plan({name: bundle}, {name: seen}, time.monotonic())
        return next((step for step in steps if isinstance(step, UnsealBundle)), None)

    def refusal(self, name: str, state: BundleState) -> Failure | None:
        """Why no copy is to be opened although there are some; None where one is, or where there are none."""
        chosen = choose(name, state.sealed, state.entry.hold, state.entry.history)
        return chosen if isinstance(chosen, Failure) else None

    def on_published(self, record: PublishRecord) -> None:
        """A copy is what is published now."""
        if record.unsealed is not None:
            confirmed, until = (in_words(at) for at in (record.unsealed.confirmed_at, record.unsealed.until))
            fields = {"bundle": record.bundle, "confirmed": confirmed, "refused_from": until}
            log.warning("published from its sealed copy", extra=fields)
            _forget_refusal(self._states[record.bundle])

    def on_failed(self, name: str, failure: Failure) -> None:
        """The copy may not be used, or could not be published."""
        if not failure.code.startswith("sealed-"):
            # Today's rules, or this host: the copy is not what its message speaks of.
            failure = replace(failure, message=f"the sealed copy of {name} cannot be used: {failure.message}")
        state = self._states[name]
        if failure != state.refused_copy:
            fields = {"bundle": name, "code": failure.code}
            log.error("not unsealed", extra={**fields, "reason": failure.message, "advice": failure.advice})
        _forget_refusal(state)
        state.refused_copy = failure
        if failure not in state.failures:
            state.failures += (failure,)


def _forget_refusal(state: BundleState) -> None:
    """What was said of an earlier try is no longer so."""
    state.failures = tuple(failure for failure in state.failures if failure != state.refused_copy)
    state.refused_copy = None
