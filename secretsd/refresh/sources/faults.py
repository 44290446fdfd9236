"""What went wrong with one call of a service, in our words. Pure; the service's own words never get here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secretsd.errors import FailureClass


class Scope(Enum):
    """How far a fault reaches."""

    SECRET = auto()  # this id; in a batch: perhaps one of its ids, so ask for each alone
    CALL = auto()  # this call; the next one may well succeed
    SOURCE = auto()  # every other call would fail in the same way


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that went wrong, in our words. `detail` is made of numbers and error codes only."""

    code: str
    failure_class: FailureClass
    scope: Scope
    retry: bool = False
    detail: str = ""


class CallFailedError(Exception):
    """Carries a `Fault` from the call to the fetch; never leaves this package."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault
