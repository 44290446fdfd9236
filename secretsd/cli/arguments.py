"""The command lines of secretsd and secretsctl."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from secretsd.errors import ExitCode


class Parser(argparse.ArgumentParser):
    """Ends the process with 64 after wrong usage (sysexits.h), not with argparse's own 2."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}: see {self.prog} --help\n")
