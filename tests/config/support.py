"""A configuration directory for one test, and what loading it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from secretsd.config.load import load, load_checked
from secretsd.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secretsd.config.models import Config

# Eleven lines; what a test adds starts on the twelfth.
GOOD = """\
[daemon]
refresh_jitter = "0"
[sources.aws]
type = "aws-secretsmanager"
region = "us-east-1"
[bundles.bot]
owner = "root"
[[bundles.bot.secrets]]
source = "aws"
id = "prod/bot"
variable = "TOKEN"
"""

SECRET = '[[bundles.bot.secrets]]\nsource = "aws"\nid = "b"\n'
BODY = "owner = 'root'\nsecrets = [{ source = 'aws', id = 'x', variable = 'A' }]\n"
OUTPUT = "[[bundles.bot.outputs]]\nformat = 'env'\n"
CHANGE = '[[bundles.bot.on_change]]\nunit = "bot.service"\naction = "none"\n'
NAME_FORM = 'must be 1 to 64 of a-z, 0-9, ".", "_", "-", and start with a letter or digit'
SPAN = 'must be a time span such as "30s", "5m" or "1h 30m"'


class Etc:
    """A directory like /etc/secretsd."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.main = directory / "secretsd.toml"

    def write(self, text: str, name: str = "secretsd.toml") -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def load(self, text: str | None = None) -> Config:
        if text is not None:
            self.write(text)
        return load(self.main)

    def problems(self, text: str | None = None) -> list[str]:
        """What is wrong, with paths relative to the directory."""
        return self._problems(text, load)

    def problems_on_this_host(self, text: str | None = None) -> list[str]:
        return self._problems(text, load_checked)

    def _problems(self, text: str | None, loader: Callable[[Path], Config]) -> list[str]:
        if text is not None:
            self.write(text)
        with pytest.raises(ConfigError) as caught:
            loader(self.main)
        assert caught.value.exit_code is ExitCode.CONFIG
        return [line.replace(f"{self.directory}/", "") for line in caught.value.problems]
