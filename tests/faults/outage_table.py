"""Every fault, and what must come of it for each kind of source. Read by test_outage_table.py.

That nothing bad is published, nothing is removed, no fetch lasts longer than 10 s or takes more than 300 MB,
each failure has its advice, and all is well again once the fault has passed, goes for every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tests.lab import faults
from tests.lab.faults import (
    Away,
    ClockSkew,
    Cut,
    CutWhole,
    Drip,
    Fault,
    Hang,
    Huge,
    RefuseIds,
    Reset,
    WrongJson,
)
from tests.lab.tls import Certificate


class Column(Enum):
    """A kind of source; the value is the name of its source and its bundle."""

    AWS = "aws"  # Secrets Manager, one region
    FAILOVER = "failover"  # the same with a replica that follows at once
    STALE = "stale"  # the same with a replica that is two versions behind
    SSM = "parameters"
    VAULT = "vault"


AWS_COLUMNS = frozenset({Column.AWS, Column.FAILOVER, Column.STALE, Column.SSM})
SECRETS_MANAGER = frozenset({Column.AWS, Column.FAILOVER, Column.STALE})


class Nameless(Enum):
    """The service's name does not resolve any more; not a proxy's fault."""

    NO_SUCH_NAME = "no-such-name"


@dataclass(frozen=True, slots=True)
class Says:
    """What status says of the bundle, in class and code; `words` stand in its message."""

    failure_class: str
    code: str
    words: str = ""
    or_code: str = ""  # where it depends on how much of an answer came before its end


# The refresh is as good as any other: another region has answered.
CONFIRMED = None
_BEHIND = Says("transient", "replica-behind")
EXIT_CODES = {"transient": 69, "identity": 77, "refusal": 77, "data": 65}


@dataclass(frozen=True, slots=True)
class Row:
    """`says` holds for every column that is not in `other`; a column that `faults` lacks is left out."""

    name: str
    faults: Mapping[Column, Fault | Nameless]
    says: Says
    other: Mapping[Column, Says | None] = field(default_factory=dict)


def _everywhere(fault: Fault | Nameless) -> dict[Column, Fault | Nameless]:
    return dict.fromkeys(Column, fault)


def _spoken(aws: Fault, vault: Fault) -> dict[Column, Fault | Nameless]:
    return {**dict.fromkeys(AWS_COLUMNS, aws), Column.VAULT: vault}


def _of_aws(fault: Fault) -> dict[Column, Fault | Nameless]:
    return dict.fromkeys(AWS_COLUMNS, fault)


def _refused(code: str, message: str, *, status: int = 400) -> RefuseIds:
    """One of the two secrets is; named as each kind names it."""
    ids = frozenset(f"{column.value}/one" for column in Column) | {"/parameters/one"}
    return RefuseIds(ids, code, message, status)


# The region itself is in trouble: the other one serves, if it is not behind.
_ELSEWHERE: dict[Column, Says | None] = {Column.FAILOVER: CONFIRMED, Column.STALE: _BEHIND}
_UNREACHABLE = Says("transient", "unreachable")
# The client of Vault sees that less has come than was announced; botocore does not.
_HUNG_UP: dict[Column, Says | None] = {
    Column.VAULT: Says("transient", "unreachable", or_code="incomplete-answer")
}
_INCOMPLETE = Says("transient", "incomplete-answer")
_CUT = Says("transient", "incomplete-answer", or_code="unreachable")
_TLS = Says("transient", "tls-failed")
_SERVER_ERROR = Says("transient", "server-error")

ROWS = (
    # Nobody answers, or not to the end.
    Row("connection refused", _everywhere(Away.REFUSED), _UNREACHABLE, _ELSEWHERE),
    Row("black hole", _everywhere(Away.BLACK_HOLE), _UNREACHABLE, _ELSEWHERE),
    Row("no such name", _everywhere(Nameless.NO_SUCH_NAME), _UNREACHABLE, _ELSEWHERE),
    Row("hangs", _everywhere(Hang()), _UNREACHABLE, _ELSEWHERE),
    # The client of Vault has a deadline for a whole answer; a worker that waits for AWS is killed.
    Row("drips", _everywhere(Drip()), Says("transient", "no-answer"), {Column.VAULT: _UNREACHABLE}),
    # Not whose certificate it should be.
    Row("untrusted certificate", _everywhere(Certificate.UNTRUSTED), _TLS),
    Row("expired certificate", _everywhere(Certificate.EXPIRED), _TLS),
    Row("another host's certificate", _everywhere(Certificate.WRONG_NAME), _TLS),
    # Answers that are none.
    Row("reset in the middle", _everywhere(Reset()), _CUT, _ELSEWHERE | _HUNG_UP),
    Row("cut short", _everywhere(Cut(40)), _CUT, _ELSEWHERE | _HUNG_UP),
    Row("cut short and looks whole", _everywhere(CutWhole(40)), _INCOMPLETE, _ELSEWHERE),
    Row("empty body", _everywhere(CutWhole(0)), _INCOMPLETE, _ELSEWHERE),
    Row("huge body", _everywhere(Huge()), _INCOMPLETE, _ELSEWHERE),
    Row("a captive portal's page", _everywhere(WrongJson.HTML), _INCOMPLETE, _ELSEWHERE),
    Row("not JSON", _everywhere(WrongJson.NOT_JSON), _INCOMPLETE, _ELSEWHERE),
    Row("a list", _everywhere(WrongJson.LIST), _INCOMPLETE, _ELSEWHERE),
    Row("an empty object", _everywhere(WrongJson.EMPTY_OBJECT), _INCOMPLETE, _ELSEWHERE),
    Row("a number for a value", _everywhere(WrongJson.VALUE_IS_NUMBER), _INCOMPLETE, _ELSEWHERE),
    Row("no value", _everywhere(WrongJson.NO_VALUE), _INCOMPLETE, _ELSEWHERE),
    Row("no version", _everywhere(WrongJson.NO_VERSION), _INCOMPLETE, _ELSEWHERE),
    Row(
        "another stage",
        dict.fromkeys(SECRETS_MANAGER, WrongJson.OTHER_STAGE),
        _INCOMPLETE,
        _ELSEWHERE,
    ),
    # The service's own trouble.
    Row(
        "throttled",
        _spoken(faults.THROTTLED, faults.VAULT_THROTTLED),
        Says("transient", "throttled"),
    ),
    Row("server error", _spoken(faults.SERVER_ERROR, faults.VAULT_SERVER_ERROR), _SERVER_ERROR, _ELSEWHERE),
    Row(
        "unavailable or sealed",
        _spoken(faults.UNAVAILABLE, faults.VAULT_SEALED),
        _SERVER_ERROR,
        {**_ELSEWHERE, Column.VAULT: Says("transient", "vault-sealed")},
    ),
    # Who we are.
    Row(
        "our clock is ahead",
        _of_aws(ClockSkew(903.0)),
        Says("transient", "clock-skew", "15 min 3 s ahead of"),
    ),
    Row(
        "our clock is behind",
        _of_aws(ClockSkew(-903.0)),
        Says("transient", "clock-skew", "15 min 3 s behind"),
    ),
    Row("expired token", _of_aws(faults.EXPIRED_TOKEN), Says("identity", "expired-credentials")),
    Row("unknown credentials", _of_aws(faults.UNKNOWN_CLIENT), Says("identity", "unknown-credentials")),
    Row(
        "everything denied",
        _spoken(faults.DENY_ALL, faults.VAULT_DENIED),
        Says("identity", "access-denied"),
        # To a token that has ended, and to one that may read nothing, Vault says the same.
        {Column.VAULT: Says("identity", "unknown-credentials")},
    ),
    # A refusal is final: no other region is asked.
    Row(
        "one secret denied",
        _spoken(
            _refused("AccessDeniedException", "not authorized to perform this action on it"),
            _refused("", "permission denied", status=403),
        ),
        Says("refusal", "access-denied"),
    ),
    Row(
        "its key cannot decrypt",
        dict.fromkeys(SECRETS_MANAGER, _refused("DecryptionFailure", "Secrets Manager can't decrypt it")),
        Says("refusal", "decryption-failed"),
    ),
    Row(
        "deletion is scheduled",
        dict.fromkeys(
            SECRETS_MANAGER,
            _refused(
                "InvalidRequestException",
                "You can't perform this operation on the secret because it was marked for deletion.",
            ),
        ),
        Says("refusal", "secret-deleted"),
    ),
    Row(
        "gone",
        dict.fromkeys(
            SECRETS_MANAGER,
            _refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
        ),
        Says("refusal", "secret-missing"),
    ),
)
