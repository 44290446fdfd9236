"""One JSON object of strings (RFC 8259) in UTF-8: `{"NAME": "value"}`, a line each."""

from __future__ import annotations

import json
from collections.abc import Mapping

from secretsd.refresh.formats.interface import ITSELF, UnwritableError


class JsonFormat:
    """Holds any text, a NUL byte included; any name will do."""

    def render(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        texts = {name: _text(value) for name, value in values.items()}
        if reasons := {
            name: "is not UTF-8, which JSON has to be" for name, text in texts.items() if text is None
        }:
            raise UnwritableError(reasons)
        return {ITSELF: json.dumps(texts, ensure_ascii=False, indent=1).encode() + b"\n"}


def _text(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


FORMAT = JsonFormat()
