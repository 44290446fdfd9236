"""What the daemon that lives on leaves out of the packages it loads, to stay below 40 MiB.

- asyncio loads OpenSSL where there is `ssl`, for connections that only workers make; it does without where
  there is none. 0.8 MiB.
- pydantic looks for plugins of its own among all installed packages, and loads email, zipfile and tempfile
  for that. There are none of ours, and nobody else's code is to run here. 1.5 MiB.
"""

from __future__ import annotations

import sys
from types import ModuleType

_PLUGINS = "pydantic.plugin._loader"


def leave_out() -> None:
    """To be called before asyncio and pydantic are loaded; for the rest of this process alone.

    Who imports `ssl` later gets it.
    """
    loader = ModuleType(_PLUGINS, "No plugins.")
    loader.get_plugins = lambda: ()  # type: ignore[attr-defined]
    sys.modules[_PLUGINS] = loader
    if "ssl" not in sys.modules:
        sys.modules["ssl"] = None  # type: ignore[assignment] # then it cannot be imported: importlib's contract
        import asyncio  # noqa: F401

        del sys.modules["ssl"]
