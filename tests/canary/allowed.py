"""Where a secret may be, and why. This is the whole list: what the gate finds elsewhere fails the test."""

from __future__ import annotations

import re

# Of processes: their memory is not searched. Their arguments and environments are, without exception.
MEMORY = {
    "worker": "it fetches, renders and publishes, and dies: docs/security.md, Where a secret is",
}
# Of these it is not searched for PINs.
WITH_THE_PIN = {
    "signer": "it logs in to its token by itself: docs/security.md, The signing service",
}

# Of a runtime directory, as paths below it.
RUNTIME = {
    r"/\.generations/[^/]+/\d+/.*": "published files: what secretsd is for",
    r"/\.copies/[^/]+/\d+/(?!record\.json$).*": "the daemon's own copies of them, on the same memory",
    r"/\.(generations|copies)/[^/]+/\.new-.*": "either of them while it is written",
}

# Of a lab machine's disk and /run. What the test itself has put there is left out, too.
MACHINE = {
    r"/(run|var/lib)/bots/.*": "where the bots of the tests note which key they have",
    r"/(etc|run)/credstore/.*": "where an administrator puts a credential: the signer's PIN",
    r"/run/credentials/.*": "where systemd hands it to the one service that it is for",
}


def in_runtime_dir(path: str) -> bool:
    """Of a path below a runtime directory, "/NAME/..."."""
    return _is_listed(path, RUNTIME)


def on_machine(path: str) -> bool:
    """Of a path in a lab machine."""
    return _is_listed(path, MACHINE) or (
        path.startswith("/run/secretsd/") and in_runtime_dir(path.removeprefix("/run/secretsd"))
    )


def _is_listed(path: str, patterns: dict[str, str]) -> bool:
    return any(re.fullmatch(pattern, path) for pattern in patterns)
