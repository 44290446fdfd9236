"""When its source last confirmed each bundle: beside the published files, so that a restart remembers it.

One small file for each bundle, on the same memory, readable for everybody: it holds times and a keyed digest.
Its first word is the moment from which on no unit is to start on the bundle, for `secretsctl wait` while the
daemon is away, or "-" for never.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secretsd.config.models import Config
from secretsd.refresh.files import tree
from secretsd.refresh.sealed.refusals import CLOCK_SLACK_S
from secretsd.refresh.state import BundleState

_READABLE = 0o644
_OPEN = 0o711
_YEAR_10000_S = 253_402_300_800.0
_ROUNDED_S = 0.001  # times are written with milliseconds


@dataclass(frozen=True, slots=True)
class Confirmation:
    """That the content with this digest is what the source had at that time."""

    at: float  # seconds since the epoch
    monotonic: float  # seconds of CLOCK_MONOTONIC: of this boot, as the files
    digest: str


class Confirmations:
    """The files of all bundles. What cannot be written costs a restart its memory, and nothing else."""

    def __init__(self, runtime_dir: Path, states: Mapping[str, BundleState]) -> None:
        self._runtime_dir = runtime_dir
        self._states = states

    def take_over(self, name: str) -> None:
        """Gives the bundle's state what a former run has written, if it is about what is published."""
        state, found = self._states[name], read(self._runtime_dir, name)
        if found is not None and state.record is not None and found.digest == state.record.digest:
            state.confirmed_at, state.confirmed_monotonic = found.at, found.monotonic
            if state.unsealed is not None and found.at - state.unsealed.confirmed_at > _ROUNDED_S:
                state.unsealed = None  # its source has confirmed since what came from a sealed copy

    def note(self, name: str, config: Config) -> None:
        """Writes down what the state says, with the limit that the configuration sets now."""
        state = self._states[name]
        if state.record is None or state.confirmed_at is None or state.confirmed_monotonic is None:
            return
        max_age_s = config.bundles[name].max_age_s if name in config.bundles else None
        limit = f"{state.confirmed_monotonic + max_age_s:.3f}" if max_age_s is not None else "-"
        text = f"{limit} {state.confirmed_monotonic:.3f} {state.confirmed_at:.3f} {state.record.digest}\n"
        with contextlib.suppress(OSError):
            _write(self._runtime_dir, name, text.encode())

    def forget(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._runtime_dir / tree.CONFIRMED / name).unlink()


def read(runtime_dir: Path, bundle: str) -> Confirmation | None:
    """What stands there; None where nothing usable does, nor what another boot has written."""
    try:
        words = (runtime_dir / tree.CONFIRMED / bundle).read_text(encoding="ascii").split()
        _, monotonic, at, digest = words
        found = Confirmation(float(at), float(monotonic), digest)
    except (OSError, ValueError):
        return None
    is_of_this_boot = math.isfinite(found.monotonic) and found.monotonic <= time.monotonic() + CLOCK_SLACK_S
    return found if is_of_this_boot and 0 <= found.at < _YEAR_10000_S else None


def _write(runtime_dir: Path, bundle: str, text: bytes) -> None:
    with tree.opened_directory(runtime_dir) as root:
        tree.make_directory(tree.CONFIRMED, _OPEN, dir_fd=root)
        with tree.opened_directory(tree.CONFIRMED, dir_fd=root) as directory:
            temporary = tree.temporary_name()
            try:
                tree.create_file(temporary, text, dir_fd=directory)
                os.chmod(temporary, _READABLE, dir_fd=directory)
                os.rename(temporary, bundle, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=directory)
                raise
