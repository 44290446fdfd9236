"""Rules between parts of the configuration: what no single table can tell. Pure; knows no host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from secretsd.config.fields import RESERVED_BUNDLE_NAMES
from secretsd.config.names import is_dangerous
from secretsd.config.problems import Problem, did_you_mean
from secretsd.config.rules import broken_rule
from secretsd.config.signer_relations import signer_related
from secretsd.config.source_rules import (
    hidden_directories,
    unfit_for_their_source,
    unfit_mounts,
    unfit_regions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from secretsd.config.models import Bundle, Config, Secret
    from secretsd.config.positions import KeyPath
    from secretsd.config.variables import VariableRule

_DANGEROUS = (
    "runs code, redirects its program or breaks the reader of the file, however well its value is quoted;"
    " give the variable another name"
)
_NOTHING_TAKEN = (
    "nothing is taken from this secret: give it variable or variables, or list its keys in the bundle's"
    " variables table"
)
_ONE_ACKNOWLEDGES = (
    "'require_ack' is for one unit of a bundle, since an acknowledgement names no unit; it is already set"
)
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_FILE_IN_THE_WAY = "needs a directory where there is a file"
_NOT_AS_ROOT = "'before' is run as the bundle's owner, and never as root: name a user of its own as owner"
_CLOSED = "each takes only what its own variable or variables names"


def related(
    config: Config, source_names: AbstractSet[str], broken: AbstractSet[KeyPath]
) -> Iterator[Problem]:
    """What does not fit together in `config`.

    `broken` holds the keys that are already known to be wrong: a rule that would have to look at one of
    them is left out, since its answer would be a consequence. `source_names` counts broken sources too.
    """
    # Every path on the way to something broken, so that each look costs the same however much is broken.
    touched = {path[:depth] for path in broken for depth in range(len(path) + 1)}
    if ("daemon",) not in touched:
        yield from _daemon(config)
        yield from hidden_directories(config)
    if ("sources",) not in touched:
        yield from unfit_regions(config.sources)
        yield from unfit_mounts(config.sources)
    if ("signer",) not in touched:
        yield from signer_related(config)
    for name, bundle in config.bundles.items():
        path = ("bundles", name)
        secrets_are_good = (*path, "secrets") not in touched
        variables_are_good = (*path, "variables") not in touched
        if secrets_are_good:
            yield from _unknown_sources(path, bundle, source_names)
            yield from unfit_for_their_source(path, bundle, config.sources)
            yield from _given_twice(path, bundle)
            yield from _dangerous(_given(path, bundle))
        yield from _dangerous({name: (*path, "variables", name) for name in bundle.variables})
        yield from _defaults(path, bundle)
        yield from _choices(path, bundle)
        if secrets_are_good and variables_are_good:
            yield from _never_given(path, bundle)
            if (*path, "groups") not in touched:
                yield from _groups(path, bundle)
        if (*path, "outputs") not in touched:
            yield from _output_paths(path, bundle)
        if (*path, "on_change") not in touched:
            yield from _units(path, bundle)
            yield from _acknowledgements(path, bundle)
            yield from _askers(path, bundle, config)
        yield from _of_the_daemon(path, bundle, config, touched)


def _of_the_daemon(
    path: KeyPath, bundle: Bundle, config: Config, touched: AbstractSet[KeyPath]
) -> Iterator[Problem]:
    """What a bundle must or may leave out because of the table [daemon]."""
    if ("daemon",) in touched:
        return
    if bundle.sealed_copy is not None and config.daemon.seal_key is None:
        yield Problem((*path, "sealed_copy"), "'sealed_copy' needs 'seal_key' in [daemon]")
    if bundle.owner is None and not config.foreground and (*path, "owner") not in touched:
        yield Problem(path, f"bundle {path[-1]!r} has no owner: name the user who reads its files")


def _daemon(config: Config) -> Iterator[Problem]:
    daemon = config.daemon
    if daemon.seal_counter is not None and daemon.seal_key is None:
        yield Problem(("daemon", "seal_counter"), "'seal_counter' needs 'seal_key'")
    if daemon.state_dir == daemon.runtime_dir or daemon.runtime_dir in daemon.state_dir.parents:
        yield Problem(
            ("daemon", "state_dir"),
            "'state_dir' must lie outside of runtime_dir: one survives a reboot, the other must not",
        )
    if daemon.control_socket == daemon.notify_socket:
        yield Problem(("daemon", "control_socket"), "'control_socket' and 'notify_socket' must differ")
    if config.metrics_socket in (daemon.control_socket, daemon.notify_socket):
        yield Problem(("metrics", "socket"), "'socket' is a socket of [daemon] already")
    for key in ("control_socket", "notify_socket", "metrics_socket"):
        socket = getattr(config if key == "metrics_socket" else daemon, key)
        is_beside_bundles = socket.parent == daemon.runtime_dir and socket.name not in RESERVED_BUNDLE_NAMES
        if is_beside_bundles and socket.name in config.bundles:
            yield Problem(("bundles", socket.name), f"bundle {socket.name!r} has the same path as {key}")


def _unknown_sources(path: KeyPath, bundle: Bundle, known: AbstractSet[str]) -> Iterator[Problem]:
    for index, secret in enumerate(bundle.secrets):
        if secret.source not in known:
            hint = did_you_mean(secret.source, sorted(known)) or "; add a table [sources.NAME] for it"
            yield Problem((*path, "secrets", index, "source"), f"'source' names no source of [sources]{hint}")


def _given(path: KeyPath, bundle: Bundle) -> dict[str, KeyPath]:
    """The names that secrets themselves give, and where each stands first."""
    given: dict[str, KeyPath] = {}
    for index, secret in enumerate(bundle.secrets):
        for name in secret.names:
            given.setdefault(name, _naming(path, index, secret, name))
    return given


def _naming(path: KeyPath, index: int, secret: Secret, name: str) -> KeyPath:
    entry = (*path, "secrets", index)
    return (*entry, "variables", name) if secret.variable is None else (*entry, "variable")


def _given_twice(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    given = _given(path, bundle)
    for index, secret in enumerate(bundle.secrets):
        for name in secret.names:
            place = _naming(path, index, secret, name)
            if place != given[name]:
                what = "this variable" if secret.variable else f"variable {name!r}"
                yield Problem(place, f"{what} is already given by another secret", given[name])


def _dangerous(names: Mapping[str, KeyPath]) -> Iterator[Problem]:
    for name, place in names.items():
        if is_dangerous(name):
            yield Problem(place, f"a variable {name!r} {_DANGEROUS}")


def _never_given(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    """Variables that no secret can give, and secrets that can give no variable."""
    if not bundle.wanted_names and not bundle.import_all:
        yield Problem(
            path,
            f"bundle {path[-1]!r} names no variable: list them in its variables table or in its secrets,"
            " or set import_all = true",
        )
        return
    unclaimed = bundle.variables.keys() - bundle.mapped_names
    if not bundle.import_all and not unclaimed:
        for index, secret in enumerate(bundle.secrets):
            if not secret.names:
                yield Problem((*path, "secrets", index), _NOTHING_TAKEN)
    if all(secret.names for secret in bundle.secrets):
        for name in unclaimed:
            if bundle.variables[name].default is None:
                yield Problem(
                    (*path, "variables", name), f"no secret of this bundle can give {name!r}: {_CLOSED}"
                )


def _defaults(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    for name, rule in bundle.variables.items():
        # Which part it breaks is not said: that sentence would list the choices.
        if rule.default is not None and _breaks(rule, rule.default):
            yield Problem((*path, "variables", name, "default"), "'default' breaks the rule it stands in")


def _breaks(rule: VariableRule, text: str) -> bool:
    if rule.pattern is not None and _REPEATED_GROUP.search(rule.pattern):
        # It may take forever to fail, and nothing here has a deadline; a worker, which has one, asks again.
        rule = rule.model_copy(update={"pattern": None, "compiled_pattern": None})
    return broken_rule(rule, text.encode()) is not None


def _choices(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    for name, rule in bundle.variables.items():
        for index, choice in enumerate(rule.choices or ()):
            if _breaks(rule, choice):
                place = (*path, "variables", name, "choices", index)
                yield Problem(place, "an element of 'choices' breaks the rule it stands in")


def _groups(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    seen: dict[str, KeyPath] = {}
    for index, group in enumerate(bundle.groups):
        for position, name in enumerate(group):
            place = (*path, "groups", index, position)
            if name in seen:
                what = f"{name!r} is in a group already; put all that depend on each other into one"
                yield Problem(place, f"{what}: see the one", seen[name])
            elif problem := _unfit_for_a_group(bundle, name):
                yield Problem(place, problem)
            seen.setdefault(name, place)


def _unfit_for_a_group(bundle: Bundle, name: str) -> str | None:
    rule = bundle.variables.get(name)
    if name not in bundle.wanted_names:
        hint = did_you_mean(name, sorted(bundle.wanted_names)) or "; list it in the variables table"
        return f"an element of 'groups' names no variable of this bundle{hint}"
    if rule is not None and rule.default is not None:
        return f"{name!r} in a group has a default, so it is never missing: take away one of the two"
    if rule is not None and rule.required and "required" in rule.model_fields_set:
        return f"{name!r} in a group has required = true, so none of its group may be missing: leave it out"
    return None


def _output_paths(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    directories = {output.path for output in bundle.outputs if output.format == "files"}
    seen: dict[str, KeyPath] = {}
    for index, output in enumerate(bundle.outputs):
        place = (*path, "outputs", index, "path")
        if output.path in seen:
            yield Problem(place, "'path' is the same as the one", seen[output.path])
            continue
        for other, other_place in seen.items():
            if output.path.startswith(f"{other}/"):
                # In a directory of format "files" a variable's name could be the same as the file's.
                what = "lies in the directory of the one" if other in directories else _FILE_IN_THE_WAY
                yield Problem(place, f"'path' {what}", other_place)
            elif other.startswith(f"{output.path}/"):
                yield Problem(place, "'path' is the directory of the one", other_place)
        seen[output.path] = place


def _units(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    seen: dict[str, KeyPath] = {}
    for index, entry in enumerate(bundle.on_change):
        place = (*path, "on_change", index, "unit")
        if entry.unit in seen:
            yield Problem(place, "'unit' is the same as the one", seen[entry.unit])
        seen.setdefault(entry.unit, place)


def _acknowledgements(path: KeyPath, bundle: Bundle) -> Iterator[Problem]:
    asking = [index for index, entry in enumerate(bundle.on_change) if entry.require_ack]
    places = [(*path, "on_change", index, "require_ack") for index in asking]
    for place in places[1:]:
        yield Problem(place, _ONE_ACKNOWLEDGES, places[0])


def _askers(path: KeyPath, bundle: Bundle, config: Config) -> Iterator[Problem]:
    # That an installed bundle has no owner at all is told anyway; in the foreground it may have none.
    if bundle.owner == "root" or (bundle.owner is None and config.foreground):
        for index, entry in enumerate(bundle.on_change):
            if entry.before is not None:
                yield Problem((*path, "on_change", index, "before"), _NOT_AS_ROOT)
