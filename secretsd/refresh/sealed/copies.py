"""What a worker does with sealed copies: makes one, renews it, opens it. It alone ever has the key."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from secretsd.config.models import Bundle
from secretsd.errors import Failure, FailureError
from secretsd.model import FetchedSecret, SealedHeader, SecretRef, SecretVersion, Unsealed
from secretsd.refresh.messages import SealPlace
from secretsd.refresh.sealed import ledger, refusals, store
from secretsd.refresh.sealed.box import AlteredError, SealKey, WrongKeyError, open_sealed, seal
from secretsd.refresh.sealed.choice import matches
from secretsd.refresh.sealed.key import host_id, read_key


@dataclass(frozen=True, slots=True)
class Opened:
    """What a copy held, as if its sources had just given it."""

    fetched: dict[SecretRef, FetchedSecret]
    generation: int
    unsealed: Unsealed


def make(
    place: SealPlace, name: str, generation: int, fetched: Collection[FetchedSecret], *, now: float
) -> SealedHeader:
    """Seals what the bundle's sources have just given as the copy of `generation`. Blocks for the disk.

    `now` is the wall clock's. Raises: FailureError.
    """
    key = read_key(place.key)
    header = SealedHeader(
        host=host_id(),
        bundle=name,
        generation=generation,
        versions=tuple(SecretVersion(each.ref, each.version_id, each.created_at) for each in fetched),
        sealed_at=now,
        confirmed_at=now,
        key_id=key.key_id,
    )
    return _write(place, key, header, fetched)


def renew(place: SealPlace, name: str, generation: int, *, now: float) -> SealedHeader:
    """Seals a copy anew that an operator holds, whatever its source says. Raises: FailureError."""
    header, fetched = _open(place, name, generation)
    refusal = refusals.misplaced(header, name=name, generation=generation, host=host_id())
    refusal = refusal or _rolled_back(place, header)
    if refusal is not None:
        raise FailureError(refusal)
    header = replace(header, sealed_at=now, confirmed_at=now)
    return _write(place, read_key(place.key), header, fetched)


def take(place: SealPlace, name: str, bundle: Bundle, generation: int, *, now: float) -> Opened:
    """What the copy holds of the secrets that the bundle has today. `now` is the wall clock's.

    Raises: FailureError where the copy may not be used.
    """
    if bundle.sealed_copy is None:
        raise ValueError("a bundle without sealed copies")
    header, fetched = _open(place, name, generation)
    max_age_s = bundle.sealed_copy.max_age_s
    refusal = refusals.judged(
        header, name=name, generation=generation, host=host_id(), now=now, max_age_s=max_age_s
    )
    refusal = refusal or _rolled_back(place, header)
    if refusal is not None:
        raise FailureError(refusal)
    found = matches([secret.ref for secret in bundle.secrets], header.versions)
    if isinstance(found, SecretRef):
        raise FailureError(refusals.config_changed(name, found))
    by_version = {(each.ref, each.version_id): each for each in fetched}
    return Opened(
        {ref: replace(by_version[v.ref, v.version_id], ref=ref) for ref, v in found.items()},
        header.generation,
        Unsealed(header.sealed_at, header.confirmed_at, header.confirmed_at + max_age_s),
    )


def _open(place: SealPlace, name: str, generation: int) -> tuple[SealedHeader, tuple[FetchedSecret, ...]]:
    state_dir, key = Path(place.state_dir), read_key(place.key)
    where = str(store.path_of(state_dir, name))
    try:
        return open_sealed(key, store.read(state_dir, name, generation))
    except OSError as error:
        failure = refusals.unreadable(name, where, os.strerror(error.errno or 0))
    except AlteredError:
        failure = refusals.altered(name, where)
    except WrongKeyError:
        failure = refusals.key_wrong(name)
    raise FailureError(failure)


def _rolled_back(place: SealPlace, header: SealedHeader) -> Failure | None:
    """Why the counter of the host forbids an authentic copy. Raises: FailureError."""
    if place.counter is None:
        return None
    state_dir = Path(place.state_dir)
    try:
        with ledger.opened(place.counter, state_dir, read_key(place.key)) as book:
            stamp = book.stamp_of(header.bundle, header.generation)
    except OSError as error:
        where = str(store.path_of(state_dir, header.bundle))
        return refusals.unreadable(header.bundle, where, os.strerror(error.errno or 0))
    is_newest = stamp is not None and header.stamp is not None and header.stamp >= stamp
    return None if is_newest else refusals.rolled_back(header.bundle)


def _write(
    place: SealPlace, key: SealKey, header: SealedHeader, fetched: Collection[FetchedSecret]
) -> SealedHeader:
    """Seals and writes, and returns the header as it was written."""
    state_dir, name, generation = Path(place.state_dir), header.bundle, header.generation
    try:
        if place.counter is None:
            store.write(state_dir, name, generation, seal(key, header, fetched))
            return header
        with ledger.opened(place.counter, state_dir, key) as book:
            header = replace(header, stamp=book.stamp_for(name, generation, header.versions))
            store.write(state_dir, name, generation, seal(key, header, fetched))
            book.enter(name, generation, ledger.Line(header.stamp or 0, header.versions))
            return header
    except OSError as error:
        why = os.strerror(error.errno or 0)
        where = str(store.path_of(state_dir, name))
        raise FailureError(refusals.not_written(name, where, why)) from None
