"""The dialect of python-dotenv and pydantic-settings.

Their reader expands `${...}` even in single quotes, and its text mode turns a CR into LF. Both go into double
quotes, where `\\r` is a CR and `${:-$}` is a dollar: the default of a variable without a name. Not exact for
who turns the expansion off (interpolate=False).
"""

from __future__ import annotations

from secretsd.refresh.formats.lines import LineFormat

_NEEDS_ESCAPES = ("'", "\\", "\r", "${")


def quoted(text: str) -> str:
    """Single quotes where they are verbatim, else double quotes with what those need."""
    if not any(sign in text for sign in _NEEDS_ESCAPES):
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("${", "${:-$}{")
    # The reader would take a backslash before the closing quote for its escape, doubled or not.
    return f'"{escaped}{"${:-}" if text.endswith(chr(92)) else ""}"'


FORMAT = LineFormat(quoted, fills_environment=False)
