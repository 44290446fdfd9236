"""The entry of secretsctl: `wait` at once, every other command with the whole program behind it."""

from __future__ import annotations

import sys

from secretsd.cli import fast


def main() -> None:
    """Ends the process with the command's exit code."""
    arguments = sys.argv[1:]
    options = fast.parse(arguments[1:]) if arguments[:1] == ["wait"] else None
    if options is not None:
        sys.exit(fast.wait(**options))  # type: ignore[arg-type]
    # Only now: argparse and json would cost `wait` half of its time.
    from secretsd.cli.main import main as full_main

    full_main(arguments)


if __name__ == "__main__":
    main()
