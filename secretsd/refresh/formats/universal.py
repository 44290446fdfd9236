"""The dialect that systemd, POSIX shells, python-dotenv and node read alike, where a value has such a form.

Most keys, PEM, JSON and URLs have one. It has the limits of all its readers.
"""

from __future__ import annotations

from secretsd.refresh.formats.lines import CannotHoldError, LineFormat

# What ends or changes a value in single quotes, and in double quotes, for at least one of the readers.
_NOT_IN_SINGLE = {
    "\r": "a carriage return",
    "\\\\": "two backslashes in a row",
    "${": "a dollar before a brace",
    "'": "a single quote",
}
_NOT_IN_DOUBLE = {
    '"': "a double quote",
    "\\": "a backslash",
    "$": "a dollar",
    "`": "a backtick",
    "\r": "a carriage return",
}


def quoted(text: str) -> str:
    """Single quotes, else double quotes, else no form that all readers take."""
    single = _first(text, _NOT_IN_SINGLE) or ("a backslash at its end" if text.endswith("\\") else None)
    if single is None:
        return f"'{text}'"
    double = _first(text, _NOT_IN_DOUBLE)
    if double is None:
        return f'"{text}"'
    # What rules out single quotes rules out double quotes as well, but for the single quote itself.
    what = f"{single} beside {double}" if single == _NOT_IN_SINGLE["'"] else single
    raise CannotHoldError(f"holds {what}, which has no form that all readers take alike")


def _first(text: str, signs: dict[str, str]) -> str | None:
    return next((word for sign, word in signs.items() if sign in text), None)


FORMAT = LineFormat(quoted, takes_noncharacters=False)
