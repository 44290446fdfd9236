"""A configuration directory for one test, and what loading it says."""

from __future__ import annotations

from textwrap import dedent
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


class Etc:
    """A directory like /etc/secretsd."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.main = directory / "secretsd.toml"

    def write(self, text: str, name: str = "secretsd.toml") -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
        return path

    def load(self, text: str | None = None) -> Config:
        if text is not None:
            self.write(text)
        return load(self.main)

    def problems(self, text: str | None = None, *, loader: Callable[[Path], Config] = load) -> list[str]:
        """What is wrong, with paths relative to the directory."""
        if text is not None:
            self.write(text)
        with pytest.raises(ConfigError) as caught:
            loader(self.main)
        assert caught.value.exit_code is ExitCode.CONFIG
        assert caught.value.__cause__ is None
        return [line.replace(f"{self.directory}/", "") for line in caught.value.problems]

    def problems_on_this_host(self, text: str) -> list[str]:
        return self.problems(text, loader=load_checked)
