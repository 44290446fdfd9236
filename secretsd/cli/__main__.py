"""The entry of secretsctl: `wait` at once, every other command with the whole program behind it."""

from __future__ import annotations

import os
import sys

from secretsd.cli import fast


def main() -> None:
    """Ends the process with the command's exit code; 70 and one line for what nobody has foreseen."""
    try:
        code = _run(sys.argv[1:])
    except SystemExit as done:  # argparse after --help or wrong usage
        code = done.code if isinstance(done.code, int) else os.EX_OK
    except KeyboardInterrupt:
        code = os.EX_TEMPFAIL
    except BrokenPipeError:
        code = os.EX_OK
    except OSError as error:  # of stdout: what talks to the daemon has its own
        code = fast.said(os.EX_IOERR, f"cannot write the output: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - a bot's unit tells by the code whether to try again
        # The type alone: the text of an error may quote what it choked on.
        message = f"this is a bug ({type(error).__name__}): report it with the command"
        code = fast.said(os.EX_SOFTWARE, message)
    _end(code)


def _end(code: int) -> None:
    """Ends the process with `code`, or with 74 where its output could not be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            # A reader that has seen enough (`| head`) is no error.
            if not isinstance(error, BrokenPipeError):
                code = code or fast.said(os.EX_IOERR, f"cannot write the output: {error.strerror}")
            # Not sys.exit: the interpreter would flush once more, fail once more, and end with 120.
            os._exit(code)
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
