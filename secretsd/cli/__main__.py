"""The entry of secretsctl: `wait` at once, every other command with the whole program behind it."""

from __future__ import annotations

import os
import sys

from secretsd.cli import fast


def main() -> None:
    """Ends the process with the command's exit code; 70 and one line for what nobody has foreseen."""
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        code = os.EX_TEMPFAIL
    except Exception as error:  # noqa: BLE001 - a bot's unit tells by the code whether to try again
        # The type alone: the text of an error may quote what it choked on.
        sys.stderr.write(f"secretsctl: this is a bug ({type(error).__name__}): report it with the command\n")
        code = os.EX_SOFTWARE
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    options = fast.parse(arguments[1:]) if arguments[:1] == ["wait"] else None
    if options is not None:
        return fast.wait(**options)  # type: ignore[arg-type]
    # Only now: argparse and json would cost `wait` half of its time.
    from secretsd.cli.main import run

    return run(arguments)


if __name__ == "__main__":
    main()
