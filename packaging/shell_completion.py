#!/usr/bin/env python3
"""Prints the completion of secretsctl for a shell: packaging/shell_completion.py bash|zsh|fish

It is made from secretsctl's own parser when the package is built. Bundles' names are asked of the daemon,
with the --socket or --config of the line; where it does not answer, or may not, there are none.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from completion import bash, fish, zsh

_HEAD = "# Completion of secretsctl; made from its parser by packaging/shell_completion.py.\n"
_SHELLS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in _SHELLS:
        print(f"usage: {sys.argv[0]} {'|'.join(_SHELLS)}", file=sys.stderr)
        return 64
    # zsh reads its first line.
    first = "#compdef secretsctl\n" if sys.argv[1] == "zsh" else ""
    print(first + _HEAD + _SHELLS[sys.argv[1]](), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
