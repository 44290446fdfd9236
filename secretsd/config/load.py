"""The way in: files to a checked `Config`, or to every mistake at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.config.files import gather
from secretsd.config.host import host_problems
from secretsd.config.models import Config
from secretsd.config.problems import Problem, explained, nearest, rendered
from secretsd.config.relations import related
from secretsd.config.tables import known_keys
from secretsd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from secretsd.config.files import Place, Tables
    from secretsd.config.positions import KeyPath

    _Line = tuple[Place, str]

ROOT_UID = 0

# Stands where a bundle's own secrets are wrong, so that its other parts can be looked at.
_STAND_IN_SECRETS = [{"source": "-", "id": "-"}]


def load(path: Path) -> Config:
    """The configuration in `path` and in conf.d beside it, as it would hold on any host.

    Raises: ConfigError with a line for every mistake, in the order of the files.
    """
    return _load(path, on_this_host=False)


def load_checked(path: Path) -> Config:
    """`load`, and what the configuration needs from this host is there too. What the daemon runs with.

    The files of the installed service must be such that the root helper acts on them: root's, and writable
    for nobody else.

    Raises: ConfigError as `load` does.
    """
    return _load(path, on_this_host=True)


def load_at_start(path: Path) -> tuple[Config, tuple[str, ...]]:
    """What a daemon starts with, and what its host lacks for single bundles.

    In the installed service a user who is gone must not keep all bots from their files at the next boot:
    that bundle fails alone, when it is published. In the foreground it is a mistake like any other.

    Raises: ConfigError as `load_checked` does.
    """
    if path != INSTALLED_CONFIG:
        return load_checked(path), ()
    tables, config, lines = _read(path, trusted_owner=ROOT_UID)
    _refuse(lines)
    return config, tuple(line for _, line in sorted(_on_host(config, tables)))


def _load(path: Path, *, on_this_host: bool) -> Config:
    trusted_owner = ROOT_UID if on_this_host and path == INSTALLED_CONFIG else None
    tables, config, lines = _read(path, trusted_owner=trusted_owner)
    _refuse([*lines, *(_on_host(config, tables) if on_this_host else ())])
    return config


def _read(path: Path, *, trusted_owner: int | None) -> tuple[Tables, Config, list[_Line]]:
    gathered = gather(path, trusted_owner=trusted_owner)
    config, problems, broken = _validated(gathered.tables)
    lines = [(place, f"{place}: {text}") for place, text in gathered.duplicates]
    lines += _lines(problems, gathered.tables)
    if gathered.unusable:
        # What the parts have to do with each other is left out: the other part may stand in such a file.
        raise ConfigError([*gathered.unusable, *(line for _, line in sorted(lines))])
    sources = gathered.tables.data.get("sources")
    names = set(sources) if isinstance(sources, dict) else set()
    lines += _lines(related(config, names, broken), gathered.tables)
    return gathered.tables, config, lines


def _on_host(config: Config, tables: Tables) -> list[_Line]:
    return _lines(host_problems(config), tables)


def _lines(problems: Iterable[Problem], tables: Tables) -> list[_Line]:
    return [(tables.locate(problem.path), rendered(problem, tables)) for problem in problems]


def _refuse(lines: list[_Line]) -> None:
    if lines:
        raise ConfigError([line for _, line in sorted(lines)])


def _validated(tables: Tables) -> tuple[Config, list[Problem], set[KeyPath]]:
    """The configuration, without its broken parts if there are any; what is wrong with them; their keys."""
    try:
        return Config.model_validate(tables.data), [], set()
    except ValidationError as error:
        problems = explained(error)
    broken = {key for problem in problems for key in _affected(problem.path)}
    return Config.model_validate(_without(tables.data, broken)), problems, broken


def _affected(path: KeyPath) -> tuple[KeyPath, ...]:
    """The key at fault and, where it may be a misspelt one, the key it was meant to be."""
    meant = nearest(str(path[-1]), known_keys(path[:-1])) if path else None
    return (path,) if meant is None else (path, (*path[:-1], meant))


def _without(data: dict[str, Any], broken: AbstractSet[KeyPath]) -> dict[str, Any]:
    """What remains valid: broken keys of the daemon and of bundles left out, sources and variables whole."""
    kept: dict[str, Any] = {}
    wrong = {path[:4] if path[2:3] == ("variables",) else path[:3] for path in broken}
    for name in ("daemon", "sources", "bundles"):
        table = data.get(name)
        if isinstance(table, dict):
            kept[name] = {key: table[key] for key in table if (name, key) not in broken}
    for name, bundle in kept.get("bundles", {}).items():
        whole = {key: value for key, value in bundle.items() if ("bundles", name, key) not in wrong}
        if isinstance(rules := whole.get("variables"), dict):
            place = ("bundles", name, "variables")
            whole["variables"] = {key: rule for key, rule in rules.items() if (*place, key) not in wrong}
        kept["bundles"][name] = {"secrets": _STAND_IN_SECRETS, **whole}
    broken_sources = {path[1] for path in broken if path[:1] == ("sources",) and len(path) > 1}
    if "sources" in kept:
        kept["sources"] = {key: kept["sources"][key] for key in kept["sources"] if key not in broken_sources}
    return kept
