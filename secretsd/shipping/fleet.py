"""The couriers that the configuration asks for: started, ended, replaced where their errand is another."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secretsd.config.models import Config
from secretsd.errors import LocalIOError
from secretsd.shipping.courier import ChainPlace, Courier
from secretsd.shipping.sinks.interface import Sink
from secretsd.shipping.sinks.registry import SinkTable, sink_of

# A call that hangs longer is beyond every timeout of its own. Its cursor is safe: a new process goes on.
_LONGEST_CALL_S = 180.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What a courier was sent for: another one is another courier."""

    table: SinkTable
    places: tuple[ChainPlace, ...]


@dataclass(frozen=True, slots=True)
class Spool:
    """What a chain takes on this host, and what is left there."""

    daemon: str
    bytes: int
    free_bytes: int


class Fleet:
    """At most one courier for each sink. All methods are for one thread."""

    def __init__(self, state_dir: Path, make: Callable[[SinkTable], Sink] = sink_of) -> None:
        self._state_dir = state_dir
        self._make = make
        self._wanted: dict[str, Errand] = {}
        self._running: dict[str, tuple[Errand, Courier]] = {}
        self._leaving: list[Courier] = []

    @property
    def couriers(self) -> list[Courier]:
        """Those who bring, in the order of the configuration."""
        return [self._running[name][1] for name in self._wanted if name in self._running]

    def send(self, config: Config) -> None:
        """From now on what `config` names; `look` starts it.

        A courier whose errand has changed ends after the call under way, and only then another one takes its
        cursor.
        """
        self._wanted = errands(config)
        for name, (errand, courier) in list(self._running.items()):
            if self._wanted.get(name) != errand:
                courier.stop(0)
                self._leaving.append(courier)
                del self._running[name]

    def look(self) -> None:
        """Starts who may start.

        Raises: LocalIOError where the state directory cannot be used, a courier hangs, or one has ended.
        """
        self._leaving = [courier for courier in self._leaving if courier.is_alive()]
        for courier in (*self._leaving, *self.couriers):
            _require_life(courier, may_end=courier in self._leaving)
        for name, errand in self._wanted.items():
            if name not in self._running and name not in {each.sink.name for each in self._leaving}:
                self._running[name] = errand, self._start(errand)

    def stop(self, patience_s: float) -> None:
        """All end, each after the call under way, or nobody waits for it longer: the cursors are safe."""
        for courier in (*self._leaving, *self.couriers):
            courier.stop(patience_s)

    def spools(self) -> list[Spool]:
        """Of each chain that is shipped and can be read."""
        places = dict.fromkeys(place for errand in self._wanted.values() for place in errand.places)
        found = []
        for place in places:
            with contextlib.suppress(OSError):
                found.append(_spool(place))
        return found

    def _start(self, errand: Errand) -> Courier:
        try:
            self._state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            courier = Courier(self._make(errand.table), errand.places, self._state_dir / "cursors")
        except OSError as error:
            raise LocalIOError(
                f"{error.filename or self._state_dir} cannot be used: {error.strerror}",
                advice="shipper_state_dir in [audit] must be the shipper's own",
            ) from None
        courier.start()
        return courier


def errands(config: Config) -> dict[str, Errand]:
    """By sink: what the configuration asks for, and where the daemons of this host write."""
    places = [ChainPlace("refresher", config.daemon.state_dir / "audit")]
    if config.signer is not None:
        places.append(ChainPlace("signer", config.signer.state_dir / "audit"))
    return {name: Errand(getattr(config.audit, name), tuple(places)) for name in config.audit.sinks}


def _require_life(courier: Courier, *, may_end: bool) -> None:
    busy_s = courier.busy_since_s
    hangs = busy_s is not None and time.monotonic() - busy_s > _LONGEST_CALL_S
    if hangs or not (may_end or courier.is_alive()):
        raise LocalIOError(f"the way to {courier.sink.name} hangs or has ended", advice="It is started anew.")


def _spool(place: ChainPlace) -> Spool:
    names = [name for name in os.listdir(place.directory) if _is_of(name, place.daemon)]
    sizes = [os.stat(place.directory / name, follow_symlinks=False).st_size for name in names]
    disk = os.statvfs(place.directory)
    return Spool(place.daemon, sum(sizes), disk.f_bavail * disk.f_frsize)


def _is_of(name: str, daemon: str) -> bool:
    return name.endswith(".jsonl") and name.startswith((f"{daemon}.", f"{daemon}-"))
