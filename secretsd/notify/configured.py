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


class NotConfiguredError(RefusedError):
    """Root's configuration names no such action."""

    code = "not-configured"


def configured_action(tables: object, *, bundle: str, unit: str) -> Action:
    """The action that `bundles.BUNDLE.on_change` of the merged configuration has for `unit`.

    Raises: NotConfiguredError where there is none, or one that is not fit to be carried out.
    """
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
    return _action(found[0], bundle=bundle, unit=unit)


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
