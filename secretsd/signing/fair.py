"""The queue before the token: users take turns, and each user's keys take turns. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class FairQueue(Generic[_T]):
    """Entries by user and key; each user's entries of one key leave in their order.

    A user with a thousand entries delays another's first one by one entry, not by a thousand.
    """

    def __init__(self) -> None:
        # Whose turn it is next stands first, on both floors.
        self._users: OrderedDict[int, OrderedDict[str, deque[_T]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, uid: int, key: str, entry: _T) -> None:
        self._users.setdefault(uid, OrderedDict()).setdefault(key, deque()).append(entry)
        self._count += 1

    def take(self, is_blocked: Callable[[str], bool]) -> _T | None:
        """The next entry whose key is not blocked; None where there is none."""
        for uid, keys in self._users.items():
            key = next((each for each in keys if not is_blocked(each)), None)
            if key is not None:
                return self._take(uid, key)
        return None

    def _take(self, uid: int, key: str) -> _T:
        keys = self._users[uid]
        entries = keys[key]
        entry = entries.popleft()
        self._count -= 1
        if entries:
            keys.move_to_end(key)
        else:
            del keys[key]
        if keys:
            self._users.move_to_end(uid)
        else:
            del self._users[uid]
        return entry

    def remove_where(self, is_unwanted: Callable[[_T], bool]) -> list[_T]:
        """Takes out every entry that `is_unwanted`, and returns them."""
        entries = list(self._drain())
        unwanted = []
        for uid, key, entry in entries:
            if is_unwanted(entry):
                unwanted.append(entry)
            else:
                self.put(uid, key, entry)
        return unwanted

    def _drain(self) -> Iterator[tuple[int, str, _T]]:
        for uid, keys in self._users.items():
            for key, entries in keys.items():
                for entry in entries:
                    yield uid, key, entry
        self._users.clear()
        self._count = 0
