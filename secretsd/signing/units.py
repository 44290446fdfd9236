"""Where systemd puts the processes of a service, and which service a control group is. Pure.

Only what PID 1 places by default counts: directly below system.slice, or for an instance below its template's
slice. Users name units, slices and control groups of their own as they like, but all of them lie deeper or
below user.slice: a process is only moved into system.slice by who may write its control group, root.
"""

from __future__ import annotations

from functools import lru_cache

from secretsd.config.units import is_service_name

_SLICE = "/system.slice/"
_UNIFIED = "0::"  # cgroups(7): the line of the hierarchy of version 2
_DELETED = " (deleted)"
_SLICE_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:_.")
_RESERVED = ("notify_on_release", "release_agent", "tasks")
# A unit named like a controller's files gets an underscore in front (systemd: cgroup-util, cg_needs_escape).
_CONTROLLERS = (
    *("cgroup", "cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids"),
    *("bpf-firewall", "bpf-devices", "bpf-foreign", "bpf-socket-bind", "bpf-restrict-network-interfaces"),
)


def expected_cgroup(unit: str) -> str:
    """The control group of the service `unit`, from the root of the hierarchy, with its slice left alone."""
    stem, at, _ = unit.removesuffix(".service").partition("@")
    inner = f"{_escaped(f'system-{_slice_word(stem)}.slice')}/" if at else ""
    return f"{_SLICE}{inner}{_escaped(unit)}"


@lru_cache(maxsize=1024)
def unit_at(cgroup: str) -> str | None:
    """The service whose processes systemd keeps in `cgroup`; None for every other control group."""
    if not cgroup.startswith(_SLICE):
        return None
    name = cgroup.rpartition("/")[2]
    unit = name[1:] if name.startswith("_") else name
    return unit if is_service_name(unit) and expected_cgroup(unit) == cgroup else None


def unified_cgroup(text: str) -> str | None:
    """The control group of version 2 in the text of /proc/PID/cgroup; None where there is none.

    A host where systemd uses version 1 alone has "/" here, which is no unit's. One that has been removed
    says so at the end of its line, and is no unit's either.
    """
    found = [line.removeprefix(_UNIFIED) for line in text.split("\n") if line.startswith(_UNIFIED)]
    return found[0] if len(found) == 1 and not found[0].endswith(_DELETED) else None


def _slice_word(prefix: str) -> str:
    """`prefix` as one word of a slice's name, in which "-" would mean another level (systemd.slice(5))."""
    return "".join(
        char if char in _SLICE_CHARACTERS and not (char == "." and place == 0) else f"\\x{ord(char):02x}"
        for place, char in enumerate(prefix)
    )


def _escaped(name: str) -> str:
    is_reserved = name in _RESERVED or name.startswith(tuple(f"{word}." for word in _CONTROLLERS))
    return f"_{name}" if is_reserved or name[:1] in ("_", ".") else name
