"""The gate of this test process: who is looked at, what is looked for, and what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tests.canary.scan import Trace, traces_in
from tests.canary.spellings import Needles, can_be_told, needles_of, values_in
from tests.canary.tally import Tally


class Subject(Protocol):
    """A daemon or a machine. Of two with the same key the later one takes the place of the other."""

    @property
    def key(self) -> object: ...

    @property
    def is_alive(self) -> bool: ...

    def traces(self, wanted: Needles, tally: Tally) -> Iterator[Trace]:
        """Looks at whatever of it is there now: what it has left where it lives no more."""
        ...


@dataclass(slots=True)
class Gate:
    """Off until `prove` is set: programs use the lab that are no tests.

    `prove` is called before the first look. It raises AssertionError where the gate does not see.
    """

    prove: Callable[[], None] | None = None
    total: Tally = field(default_factory=Tally)
    _is_proved: bool = False
    _in_body: bool = False
    _subjects: dict[object, Subject] = field(default_factory=dict)
    _secrets: set[str] = field(default_factory=set)
    _found: set[Trace] = field(default_factory=set)

    def learn(self, payload: str | bytes | dict[str, object]) -> None:
        """Such a secret was made: it is looked for until the test ends, if it can be told from other text."""
        if isinstance(payload, bytes):
            payload = payload.decode(errors="replace")
        texts = payload.values() if isinstance(payload, dict) else values_in(payload)
        self._secrets |= {text for text in texts if isinstance(text, str) and can_be_told(text)}

    def watch(self, subject: Subject) -> None:
        """From now on it is looked at when a test ends, for the last time when it is alive no more."""
        self._subjects[subject.key] = subject

    def release(self, subject: Subject) -> None:
        """It is gone, with all that it had."""
        self._subjects.pop(subject.key, None)

    def look_before_the_end(self, subject: Subject) -> None:
        """A test is about to end a daemon: what it has in its memory cannot be seen afterwards.

        Outside of a test's body nothing: whatever lived at its end was looked at then.
        """
        if self._in_body:
            self._look([subject])

    def begin_body(self) -> None:
        self._in_body = True

    def end_body(self) -> None:
        """The body of a test is over; its fixtures are still there."""
        self._in_body = False
        self._look(self._subjects.values())
        self.total.tests += bool(self._subjects)

    def finish(self, said: str) -> list[Trace]:
        """The fixtures are gone, too: looks at what is left, and at what the test itself has `said`.

        Returns all that was found since the last time.
        """
        gone = [subject for subject in self._subjects.values() if not subject.is_alive]
        self._look(gone)
        self._found |= set(traces_in(said, "what the test captured", needles_of(self._secrets)))
        for subject in gone:
            self.release(subject)
        found = sorted(self._found, key=str)
        self._found.clear()
        self._secrets.clear()
        return found

    def _look(self, subjects: Iterable[Subject]) -> None:
        began = time.monotonic()
        for subject in list(subjects) if self.prove is not None else ():
            self._found |= set(self.search(subject))
        self.total.spent_s += time.monotonic() - began

    def search(self, subject: Subject) -> Iterator[Trace]:
        """One look at it, of which nothing is kept. Raises: AssertionError where the gate does not see."""
        if not self._is_proved and self.prove is not None:
            self.prove()
            self._is_proved = True
        yield from subject.traces(needles_of(self._secrets), self.total)


GATE = Gate()
