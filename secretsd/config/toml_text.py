"""Values as TOML writes them, on one line. Pure; standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal


def inline(value: object) -> str:
    """`value` as it stands behind a key: text, numbers, booleans, arrays and tables of these."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # A basic string of TOML is a string of JSON, but for DEL.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float() | Decimal():
            return str(value)
        case Mapping():
            pairs = ", ".join(f"{key(name)} = {inline(each)}" for name, each in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list() | tuple():
            return f"[{', '.join(map(inline, value))}]"
    raise TypeError(f"no value of TOML: {type(value).__name__}")


def key(name: str) -> str:
    """`name` as a key, in quotes where it needs them."""
    is_bare = name.isascii() and name.replace("_", "a").replace("-", "a").isalnum()
    return name if is_bare else inline(name)
