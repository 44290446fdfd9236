"""What the configuration needs from this host: users, and the rights that foreground mode does not have."""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

from secretsd.config.problems import Problem, did_you_mean
from secretsd.config.sources import FileSource
from secretsd.config.windows import zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from secretsd.config.models import Bundle, Config
    from secretsd.config.positions import KeyPath

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_USABLE_BY_ALL = stat.S_IROTH | stat.S_IXOTH


def host_problems(config: Config) -> Iterator[Problem]:
    """What this host cannot do. Blocks while users are looked up."""
    yield from _directories(config)
    yield from _alert_command(("daemon", "alert_command"), config.daemon.alert_command, config)
    uids: dict[str, int | None] = {}
    for name, bundle in config.bundles.items():
        path = ("bundles", name)
        if bundle.owner is not None:
            if bundle.owner not in uids:
                uids[bundle.owner] = _uid(bundle.owner)
            yield from _owner((*path, "owner"), bundle.owner, uids[bundle.owner], config)
        if config.foreground and "notify_socket" not in config.daemon.model_fields_set:
            yield from _actions(path, bundle)
        else:
            yield from _programs(path, bundle)
        yield from _zones(path, bundle)
        yield from _alert_command((*path, "alert_command"), bundle.alert_command or (), config)


def _owner(place: KeyPath, owner: str, uid: int | None, config: Config) -> Iterator[Problem]:
    if uid is None:
        hint = did_you_mean(owner, (entry.pw_name for entry in pwd.getpwall()))
        yield Problem(place, f"'owner' is no user of this host{hint or '; create the user first'}")
    elif config.foreground and os.geteuid() not in (0, uid):
        yield Problem(
            place,
            "'owner' is another user than the one who runs this: without root, files can only be your own;"
            " name yourself, or leave owner out",
        )


def _directories(config: Config) -> Iterator[Problem]:
    for name, source in config.sources.items():
        # Not os.path.isdir: what may not be looked at from here can still be there for the daemon.
        if isinstance(source, FileSource) and _is_no_directory(source.directory):
            yield Problem(
                ("sources", name, "directory"), "'directory' is no directory of this host; create it first"
            )


def _is_no_directory(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _actions(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    for index, entry in enumerate(bundle.on_change):
        if entry.action != "none":
            yield Problem(
                (*path, "on_change", index, "action"),
                'acting on units needs the installed service; set action = "none", or notify_socket in'
                " [daemon] to a helper that runs",
            )
        if entry.before is not None:
            yield Problem(
                (*path, "on_change", index, "before"),
                "'before' needs the installed service, whose helper runs it",
            )


def _zones(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    for index, entry in enumerate(bundle.on_change):
        for number, window in enumerate(entry.windows):
            if zone_of(window.zone) is None:
                yield Problem(
                    (*path, "on_change", index, "windows", number),
                    "an element of 'windows' names a time zone that this host does not have: check its"
                    " spelling, and apt install tzdata",
                )


def _programs(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    """What `before` names and is not there. What may not be looked at (a home, from the sandbox) is left."""
    for index, entry in enumerate(bundle.on_change):
        program = entry.before[0] if entry.before else None
        if program is None:
            continue
        try:
            mode = os.stat(program).st_mode
        except (FileNotFoundError, NotADirectoryError):
            problem = "names a program that does not exist"
        except OSError:
            continue
        else:
            if stat.S_ISREG(mode) and mode & 0o111:
                continue
            problem = "names a file that is no program: chmod +x"
        yield Problem((*path, "on_change", index, "before"), f"'before' {problem}")


def _alert_command(place: KeyPath, command: tuple[str, ...], config: Config) -> Iterator[Problem]:
    if command and (wrong := _unfit_program(command[0], installed=not config.foreground)):
        yield Problem(place, wrong)


def _unfit_program(program: str, *, installed: bool) -> str:
    """Why the daemon cannot run `program`, or must not; empty where it can."""
    try:
        status = os.stat(program)
    except OSError as error:
        return f"'alert_command' names a program that cannot be used: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "'alert_command' must name a program, not a directory or a device"
    if not installed:
        return "" if os.access(program, os.X_OK) else "'alert_command' names a file that is not executable"
    # Run by the daemon, which may read its own copies of the secrets: nobody else may exchange it.
    if status.st_uid != 0 or status.st_mode & _WRITABLE_BY_OTHERS:
        return "'alert_command' must belong to root and be writable for nobody else: chown root, chmod go-w"
    if status.st_mode & _USABLE_BY_ALL != _USABLE_BY_ALL:
        return "'alert_command' must be executable for the user secretsd: chmod a+rx"
    return ""


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
