"""Rules between parts of the configuration: what no single table can tell. Pure; knows no host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.config.fields import RESERVED_BUNDLE_NAMES
from secretsd.config.names import is_dangerous
from secretsd.config.problems import Problem, did_you_mean
from secretsd.config.rules import broken_rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from secretsd.config.models import Bundle, Config, Secret
    from secretsd.config.positions import KeyPath

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
_FILE_IN_THE_WAY = "needs a directory where there is a file"
_CLOSED = "each takes only what its own variable or variables names"


def related(
    config: Config, source_names: AbstractSet[str], broken: AbstractSet[KeyPath]
) -> Iterator[Problem]:
    """What does not fit together in `config`.

    `broken` holds the keys that are already known to be wrong: a rule that would have to look at one of
    them is left out, since its answer would be a consequence. `source_names` counts broken sources too.
    """
    if not _any_within(broken, ("daemon",)):
        yield from _daemon(config)
    for name, bundle in config.bundles.items():
        path = ("bundles", name)
        secrets_are_good = not _any_within(broken, (*path, "secrets"))
        variables_are_good = not _any_within(broken, (*path, "variables"))
        if secrets_are_good:
            yield from _unknown_sources(path, bundle, source_names)
            yield from _given_twice(path, bundle)
            yield from _dangerous(_given(path, bundle))
        if variables_are_good:
            yield from _dangerous({name: (*path, "variables", name) for name in bundle.variables})
            yield from _defaults(path, bundle)
        if secrets_are_good and variables_are_good:
            yield from _never_given(path, bundle)
        if not _any_within(broken, (*path, "outputs")):
            yield from _output_paths(path, bundle)
        if not _any_within(broken, (*path, "on_change")):
            yield from _units(path, bundle)
            yield from _acknowledgements(path, bundle)
        if (
            bundle.owner is None
            and not config.foreground
            and not _any_within(broken, (*path, "owner"), ("daemon",))
        ):
            yield Problem(path, f"bundle {name!r} has no owner: name the user who reads its files")


def _any_within(broken: AbstractSet[KeyPath], *paths: KeyPath) -> bool:
    return any(each[: len(path)] == path for each in broken for path in paths)


def _daemon(config: Config) -> Iterator[Problem]:
    daemon = config.daemon
    if daemon.state_dir == daemon.runtime_dir or daemon.runtime_dir in daemon.state_dir.parents:
        yield Problem(
            ("daemon", "state_dir"),
            "'state_dir' must lie outside of runtime_dir: one survives a reboot, the other must not",
        )
    if daemon.control_socket == daemon.notify_socket:
        yield Problem(("daemon", "control_socket"), "'control_socket' and 'notify_socket' must differ")
    for key in ("control_socket", "notify_socket"):
        socket = getattr(daemon, key)
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
        if rule.default is not None and broken_rule(rule, rule.default.encode()):
            yield Problem((*path, "variables", name, "default"), "'default' breaks the rule it stands in")


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
