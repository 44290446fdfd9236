"""The dialects by the names that the configuration uses."""

from __future__ import annotations

from secretsd.refresh.formats.env import EnvFormat
from secretsd.refresh.formats.interface import Format

FORMATS: dict[str, Format] = {"env": EnvFormat()}
