"""What can go wrong, each with one word for machines and one sentence for the operator.

Nothing in this module ever carries a secret's value: messages are built from configured names only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """The sysexits codes that secretsd and secretsctl end with."""

    OK = 0
    USAGE = 64
    DATA = 65
    UNAVAILABLE = 69
    BUG = 70
    IO = 74
    TRY_AGAIN = 75
    REFUSED = 77
    CONFIG = 78


# The order in which one command's many results become one exit code: the first that occurs wins.
SEVERITY = (
    ExitCode.CONFIG,
    ExitCode.REFUSED,
    ExitCode.DATA,
    ExitCode.UNAVAILABLE,
    ExitCode.IO,
    ExitCode.TRY_AGAIN,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.OK,
)


def worst(codes: list[ExitCode]) -> ExitCode:
    """The code that stands for all of `codes`; OK for none."""
    return min(codes, key=SEVERITY.index, default=ExitCode.OK)


class FailureClass(StrEnum):
    """Why a bundle could not be brought up to date; decides who has to act."""

    TRANSIENT = "transient"  # the source cannot answer now: keep, retry
    IDENTITY = "identity"  # the source does not accept who we are: keep, alarm
    REFUSAL = "refusal"  # the source says no to this secret: alarm, keep or withdraw
    DATA = "data"  # the secret came and does not fit the bundle's rules
    IO = "io"  # this host could not write the files


_EXIT_CODE = {
    FailureClass.TRANSIENT: ExitCode.UNAVAILABLE,
    FailureClass.IDENTITY: ExitCode.REFUSED,
    FailureClass.REFUSAL: ExitCode.REFUSED,
    FailureClass.DATA: ExitCode.DATA,
    FailureClass.IO: ExitCode.IO,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason why a bundle stays as it is.

    `code` is a short hyphenated word that does not change between versions ("access-denied"); `message`
    names what failed; `advice` is the operator's next step. None of them holds a value.
    """

    code: str
    failure_class: FailureClass
    message: str
    advice: str
    secret: str | None = None
    variable: str | None = None

    @property
    def exit_code(self) -> ExitCode:
        return _EXIT_CODE[self.failure_class]


class SecretsdError(Exception):
    """The base of every error that a `main` may see; it knows its exit code and its advice."""

    exit_code = ExitCode.BUG
    code = "bug"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class ConfigError(SecretsdError):
    """The configuration cannot be used; `problems` holds a line for each mistake, "FILE:LINE: text"."""

    exit_code = ExitCode.CONFIG
    code = "configuration"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UsageError(SecretsdError):
    """The command line or a request on a socket is malformed."""

    exit_code = ExitCode.USAGE
    code = "usage"


class RefusedError(SecretsdError):
    """The caller may not do this."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class LocalIOError(SecretsdError):
    """This host's own files or sockets failed."""

    exit_code = ExitCode.IO
    code = "io"


class TryAgainError(SecretsdError):
    """Nothing is wrong that time will not mend."""

    exit_code = ExitCode.TRY_AGAIN
    code = "try-again"


class FailureError(SecretsdError):
    """Carries a `Failure` up to the place that keeps the bundle as it is."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, advice=failure.advice)
        self.failure = failure
        self.code = failure.code
        self.exit_code = failure.exit_code
