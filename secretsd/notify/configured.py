"""What root's configuration lets the helper do: the one rule between a request and an action.

The daemon has validated the same files; that is not relied on, since the point of the helper is that a
daemon in the wrong hands can do no more than the configuration says.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from secretsd.config.units import SIGNAL_NAMES, is_service_name
from secretsd.errors import RefusedError
from secretsd.timespan import parse_timespan

MAX_BEFORE_TIMEOUT_S = 300.0
_BEFORE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Reload:
    """Run the unit's ExecReload=."""

    name = "reload"


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart the unit if it runs."""

    name = "restart"


@dataclass(frozen=True, slots=True)
class Signal:
    """Send `number` to the unit's main process."""

    number: signal.Signals

    @property
    def name(self) -> str:
        return self.number.name


Action = Reload | Restart | Signal


@dataclass(frozen=True, slots=True)
class Before:
    """The program that must agree before a unit is touched, to be run as `owner` for up to `timeout_s`."""

    owner: str
    command: tuple[str, ...]
    timeout_s: float


class NotConfiguredError(RefusedError):
    """Root's configuration names no such action."""

    code = "not-configured"


def configured_action(tables: object, *, bundle: str, unit: str) -> Action:
    """The action that `bundles.BUNDLE.on_change` of the merged configuration has for `unit`.

    Raises: NotConfiguredError where there is none, or one that is not fit to be carried out.
    """
    return _action(_entry(tables, bundle=bundle, unit=unit), bundle=bundle, unit=unit)


def configured_before(tables: object, *, bundle: str, unit: str) -> Before:
    """The `before` that the merged configuration has for `unit`, and the owner of `bundle`.

    Raises: NotConfiguredError where there is none, or one that is not fit to be run.
    """
    entry = _entry(tables, bundle=bundle, unit=unit)
    owner = _table(_table(tables, "bundles"), bundle).get("owner")
    command = [word for word in _list(entry.get("before")) if isinstance(word, str) and word.isprintable()]
    timeout_s = _timeout_s(entry.get("before_timeout"))
    if not command or command != entry.get("before") or not command[0].startswith("/"):
        problem = "it has no before that is a list of texts and begins with an absolute path"
    elif not isinstance(owner, str) or not owner:
        problem = "it has no owner to run before as"
    elif timeout_s is None:
        problem = f"its before_timeout is no time span up to {MAX_BEFORE_TIMEOUT_S:.0f} s"
    else:
        return Before(owner, tuple(command), timeout_s)
    raise NotConfiguredError(
        f"bundle {bundle} cannot ask before it touches {unit}: {problem}",
        advice=f"correct on_change of bundle {bundle}; secretsctl check-config names the line",
    )


def _timeout_s(value: object) -> float | None:
    if value is None:
        return _BEFORE_TIMEOUT_S
    try:
        timeout_s = parse_timespan(value) if isinstance(value, str) else 0.0
    except ValueError:
        return None
    return timeout_s if 0 < timeout_s <= MAX_BEFORE_TIMEOUT_S else None


def _entry(tables: object, *, bundle: str, unit: str) -> Mapping[str, object]:
    """The one entry of `on_change` that is about `unit`. Raises: NotConfiguredError."""
    entries = _list(_table(_table(tables, "bundles"), bundle).get("on_change"))
    found = [entry for entry in entries if isinstance(entry, Mapping) and entry.get("unit") == unit]
    if not found:
        raise NotConfiguredError(
            f"the configuration has no on_change for {unit} in bundle {bundle}",
            advice=f'add unit = "{unit}" to [[bundles.{bundle}.on_change]] in the configuration of root',
        )
    if len(found) > 1:
        raise NotConfiguredError(
            f"bundle {bundle} names {unit} {len(found)} times in on_change",
            advice="leave one on_change entry for this unit",
        )
    if not is_service_name(unit):
        raise NotConfiguredError(
            f"bundle {bundle}: {unit} is not the full name of a service",
            advice="write the name in full, with .service; a template needs its instance",
        )
    return found[0]


def names_bundle(tables: object, bundle: str) -> bool:
    """Whether the merged configuration has that bundle at all."""
    return bundle in _table(tables, "bundles")


def _action(entry: Mapping[str, object], *, bundle: str, unit: str) -> Action:
    match entry.get("action"), entry.get("signal"):
        case "reload", None:
            return Reload()
        case "restart", None:
            return Restart()
        case "signal", str(name) if name in SIGNAL_NAMES:
            return Signal(signal.Signals[name])
        case "signal", _:
            problem = f"its signal is not one of {', '.join(SIGNAL_NAMES)}"
        case "none", _:
            problem = 'its action is "none"'
        case _:
            problem = 'its action is not "reload", "restart" or "signal" (a signal goes with "signal" only)'
    raise NotConfiguredError(
        f"bundle {bundle} cannot act on {unit}: {problem}",
        advice=f"correct on_change of bundle {bundle}; secretsctl check-config names the line",
    )


def _table(value: object, key: str) -> Mapping[str, object]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
