"""Which system service a control group is. Pure."""

from __future__ import annotations

_SLICE = "system.slice"


def unit_of(cgroup_file: str) -> str | None:
    """The service whose own control group this is, from the text of /proc/PID/cgroup (cgroups(7)).

    None outside system.slice, in a group below a service's own, and on hosts without the unified hierarchy:
    users may name the units of their own slices anything, and a service that was given its subtree may make
    any group below its own.
    """
    for line in cgroup_file.splitlines():
        hierarchy, _, rest = line.partition(":")
        _, _, path = rest.partition(":")
        if hierarchy == "0":
            return _unit_at(path)
    return None


def _unit_at(path: str) -> str | None:
    parts = path.split("/")
    match parts:
        case ["", slice_, unit] if slice_ == _SLICE and _is_service(unit) and "@" not in unit:
            return unit
        case ["", slice_, inner, unit] if slice_ == _SLICE and _is_service(unit):
            # An instance's default slice (systemd.special(7), systemd.slice(5)); no other one is believed.
            return unit if "@" in unit and inner == _slice_of_instance(unit) else None
    return None


def _is_service(name: str) -> bool:
    return name.endswith(".service") and len(name) > len(".service")


def _slice_of_instance(unit: str) -> str:
    """ "foo-bar@x.service" -> "system-foo\\x2dbar.slice": "-" would be a slice inside a slice."""
    return f"system-{unit.partition('@')[0].replace('-', chr(92) + 'x2d')}.slice"
