"""Which units and signals an `on_change` may name. Standard library only: the root helper asks the same."""

from __future__ import annotations

# Signals that a program may take as "read your files again". Those that cannot be caught, that mean a fault
# or that stop a process have no place here, whatever handler is installed.
SIGNAL_NAMES = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH")

# Acting on one of these would end the daemon, the helper or the memory in the middle of a delivery.
OWN_UNITS = frozenset(
    {"secretsd.service", "secretsd-notify.service", "secretsd-runtime.service", "secretsd-signer.service"}
)

_SUFFIX = ".service"
_MAX_CHARS = 255
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.@\\-")


def is_service_name(unit: str) -> bool:
    """Whether `unit` names exactly one service: systemd.unit(5)'s characters, no glob, no bare template."""
    stem = unit.removesuffix(_SUFFIX)
    return (
        unit.endswith(_SUFFIX)
        and len(unit) <= _MAX_CHARS
        and set(unit) <= _CHARACTERS
        and stem[:1] not in ("", "-", "@", ".")
        and not stem.endswith("@")
    )
