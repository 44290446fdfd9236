"""secretsd's entry. It imports little: what is left out must be left out before the rest is loaded."""

from __future__ import annotations

from secretsd import lean


def main() -> None:
    lean.leave_out()
    from secretsd.daemon import main as run

    run()


if __name__ == "__main__":
    main()
