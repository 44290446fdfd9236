"""The dialect that systemd's EnvironmentFile= and every POSIX shell read alike.

systemd.exec(5) takes `'...'` verbatim and joins adjacent quoted pieces, as sh does; so a single quote is
written as `'"'"'`. The shell trick `'\\''` is not used: systemd would keep a literal quote.
"""

from __future__ import annotations

from secretsd.refresh.formats.lines import LineFormat


def quoted(text: str) -> str:
    """Single quotes around all of it, whatever it holds."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


FORMAT = LineFormat(quoted, takes_noncharacters=False)
