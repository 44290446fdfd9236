"""Modules of a package without what its `__init__` would load beside them.

Two packages are used in part by daemons that are to stay below 40 MiB: of prometheus-client its `__init__`
loads a web server, WSGI and urllib, 3.3 MiB instead of 0.2; of watchdog.observers all observers, 1.0 instead
of 0.6.
"""

from __future__ import annotations

import sys
from importlib import import_module, util
from types import ModuleType


def parts_of(package: str, *names: str) -> list[ModuleType]:
    """The modules of these names in `package`. Who imports the package later gets it whole.

    Raises: ImportError.
    """
    if package in sys.modules:
        return [import_module(f"{package}.{name}") for name in names]
    found = util.find_spec(package)
    if found is None:
        raise ModuleNotFoundError(f"{package} is not installed")
    sys.modules[package] = util.module_from_spec(found)
    try:
        return [import_module(f"{package}.{name}") for name in names]
    finally:
        del sys.modules[package]
