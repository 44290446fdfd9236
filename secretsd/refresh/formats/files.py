"""One file a variable, with exactly its bytes: the output is a directory, a file has its variable's name.

Holds anything, keystores and other binaries included. Without variables there is no directory.
"""

from __future__ import annotations

from collections.abc import Mapping

from secretsd.config.names import is_valid_name
from secretsd.refresh.formats.interface import NOT_A_NAME, UnwritableError

_MAX_NAME_BYTES = 255  # NAME_MAX of every file system that a runtime directory may be on


class FilesFormat:
    """Nothing is added, not even a final newline."""

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        if reasons := {name: reason for name in values if (reason := _why_not(name))}:
            raise UnwritableError(reasons)
        return dict(values)


def _why_not(name: str) -> str | None:
    # This also keeps "..", "/" and hidden names out of the directory.
    if not is_valid_name(name):
        return NOT_A_NAME
    if len(name) > _MAX_NAME_BYTES:
        return f"is longer than the {_MAX_NAME_BYTES} bytes that a file's name may have"
    return None


FORMAT = FilesFormat()
