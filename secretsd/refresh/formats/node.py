"""The dialect of `node --env-file` and process.loadEnvFile(): three kinds of quotes and no escapes.

Inside double quotes the two characters `\\n` become a line feed; a CR is lost wherever it stands.
"""

from __future__ import annotations

from secretsd.refresh.formats.lines import CannotHoldError, LineFormat

_QUOTES = ("'", "`", '"')
_BLANKS = " \t\v\f"


def quoted(text: str) -> str:
    """The first kind of quotes that the value does not hold; else bare, where node reads that back."""
    if "\r" in text:
        raise CannotHoldError("holds a carriage return, which node does not read back")
    if "'" not in text:
        return f"'{text}'"
    if "`" not in text:
        return f"`{text}`"
    if '"' not in text and "\\n" not in text:
        return f'"{text}"'
    if "\n" in text or "#" in text or text.strip(_BLANKS) != text or text.startswith(_QUOTES):
        raise CannotHoldError("holds every kind of quotes that node knows, and cannot stand without")
    return text


FORMAT = LineFormat(quoted, fills_environment=False)
