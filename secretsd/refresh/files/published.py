"""What stands in the runtime directory now: reading it back, removing it.

The conductor calls this: it never opens a published file or a copy, only their directories and records.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from secretsd.errors import Failure, FailureClass, FailureError, LocalIOError
from secretsd.model import PublishRecord
from secretsd.refresh import messages
from secretsd.refresh.files import generations, tree
from secretsd.refresh.files.publish import RenderedFile, current_generation

NO_COPY = "no-copy"  # the code of a failure that no other try will mend


def prepare(runtime_dir: Path) -> None:
    """Makes what this boot needs: the digest key, and the runtime directory where systemd did not.

    Raises: LocalIOError.
    """
    try:
        runtime_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        with tree.opened_directory(runtime_dir) as root:
            tree.make_directory(tree.GENERATIONS, 0o711, dir_fd=root)
            tree.make_directory(tree.COPIES, 0o700, dir_fd=root)
            _make_digest_key(root)
    except OSError as error:
        raise _unusable(runtime_dir, error) from None


def lock(runtime_dir: Path) -> int:
    """A descriptor; as long as it is open, no other daemon can lock the directory.

    Raises: LocalIOError.
    """
    # Not for writing: whoever remounts the directory read-only would find it busy.
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with tree.opened_directory(runtime_dir) as root:
            descriptor = os.open(tree.LOCK, flags, 0o600, dir_fd=root)
    except OSError as error:
        raise _unusable(runtime_dir, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise LocalIOError(
            f"another secretsd uses the runtime directory {runtime_dir}",
            advice="stop it (systemctl stop secretsd), or give this one a runtime_dir of its own",
        ) from None
    return descriptor


def _unusable(runtime_dir: Path, error: OSError) -> LocalIOError:
    return LocalIOError(
        f"cannot use the runtime directory {runtime_dir}: {os.strerror(error.errno or 0)}",
        advice="systemctl status secretsd-runtime.service; the directory must be writable for secretsd",
    )


def _make_digest_key(root: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if len(tree.read_file(tree.DIGEST_KEY, dir_fd=root)) == tree.DIGEST_KEY_BYTES:
            return
    temporary = tree.temporary_name()
    tree.create_file(temporary, secrets.token_bytes(tree.DIGEST_KEY_BYTES), dir_fd=root)
    os.rename(temporary, tree.DIGEST_KEY, src_dir_fd=root, dst_dir_fd=root)


def read_digest_key(runtime_dir: Path) -> bytes:
    with tree.opened_directory(runtime_dir) as root:
        return tree.read_file(tree.DIGEST_KEY, dir_fd=root)


def read_record(runtime_dir: Path, bundle: str) -> PublishRecord | None:
    """The record of the bundle's current generation; None where nothing usable is published."""
    try:
        with tree.opened_directory(runtime_dir) as root:
            generation = current_generation(root, bundle)
    except OSError:
        return None
    return None if generation is None else read_record_of(runtime_dir, bundle, generation)


def read_record_of(runtime_dir: Path, bundle: str, generation: int) -> PublishRecord | None:
    """The record of one generation, shown or not; None where it is not kept."""
    try:
        with tree.opened_directory(runtime_dir) as root, _copy(root, bundle, generation) as copy:
            return _read_record(copy, bundle, generation)
    except (OSError, ValueError):
        return None


def kept_records(runtime_dir: Path, bundle: str) -> dict[int, PublishRecord]:
    """What can be shown again, by number: every generation whose copy is here."""
    with tree.opened_directory(runtime_dir) as root:
        names = [name for name in _listdir(f"{tree.COPIES}/{bundle}", root) if name.isdecimal()]
    records = {int(name): read_record_of(runtime_dir, bundle, int(name)) for name in names}
    return {number: record for number, record in sorted(records.items()) if record is not None}


def read_copy(
    runtime_dir: Path, bundle: str, generation: int
) -> tuple[PublishRecord, tuple[RenderedFile, ...]]:
    """A generation that was published, from the daemon's own copy. For a worker: the files hold secrets.

    Raises: FailureError of class IO.
    """
    try:
        with tree.opened_directory(runtime_dir) as root, _copy(root, bundle, generation) as copy:
            record = _read_record(copy, bundle, generation)
            files = tuple(
                RenderedFile(file.path, tree.read_file(str(index), dir_fd=copy))
                for index, file in enumerate(record.files)
            )
    except (OSError, ValueError):
        raise FailureError(_no_copy(bundle)) from None
    return record, files


def _copy(root: int, bundle: str, generation: int) -> AbstractContextManager[int]:
    return tree.opened_directory(f"{tree.COPIES}/{bundle}/{generation}", dir_fd=root)


def _read_record(copy: int, bundle: str, generation: int) -> PublishRecord:
    """Raises: OSError; ValueError for what is not this generation's record."""
    record = messages.decode_record(tree.read_file(tree.RECORD, dir_fd=copy))
    if (record.bundle, record.generation) != (bundle, generation):
        raise ValueError("the record of something else")
    return record


def _no_copy(bundle: str) -> Failure:
    return Failure(
        code=NO_COPY,
        failure_class=FailureClass.IO,
        message=f"the daemon's copy of {bundle} that was to be shown again cannot be read",
        advice=f"find out who writes there; the next refresh that succeeds publishes {bundle} anew",
    )


def bundles_present(runtime_dir: Path) -> frozenset[str]:
    """Names of all bundles that have a symlink or generations here."""
    names: set[str] = set()
    with tree.opened_directory(runtime_dir) as root:
        names |= {name for name in os.listdir(root) if current_generation(root, name) is not None}
        for kind in (tree.GENERATIONS, tree.COPIES):
            names |= set(_listdir(kind, root))
    return frozenset(names)


def highest_generation(runtime_dir: Path, bundle: str) -> int:
    """The largest generation number in use on this host's memory; 0 for none."""
    with tree.opened_directory(runtime_dir) as root:
        names = [
            name
            for kind in (tree.GENERATIONS, tree.COPIES)
            for name in _listdir(f"{kind}/{bundle}", root)
            if name.isdecimal()
        ]
    return max(map(int, names), default=0)


def remove(runtime_dir: Path, bundle: str) -> None:
    """Takes the bundle away, its symlink first. Raises: OSError."""
    with tree.opened_directory(runtime_dir) as root:
        if current_generation(root, bundle) is not None:
            os.unlink(bundle, dir_fd=root)
        for kind in (tree.GENERATIONS, tree.COPIES):
            with contextlib.suppress(FileNotFoundError), tree.opened_directory(kind, dir_fd=root) as parent:
                tree.remove_tree(bundle, dir_fd=parent)


def sweep(runtime_dir: Path, last_shown: Mapping[str, int]) -> int:
    """Removes what killed publishes left behind; returns how many entries. Raises: OSError.

    `last_shown` says what a bundle showed whose link somebody has removed. Not while a worker publishes: what
    it has under way looks like a leftover.
    """
    with tree.opened_directory(runtime_dir) as root:
        links = [name for name in os.listdir(root) if name.startswith(tree.TEMPORARY_PREFIX)]
        bundles = {bundle for kind in (tree.GENERATIONS, tree.COPIES) for bundle in _listdir(kind, root)}
        shown = {name: current_generation(root, name) or last_shown.get(name) or None for name in bundles}
        removed = sum(_sweep_generations(root, name, shown[name]) for name in bundles)
        return removed + _remove_named(root, links)


def sweep_bundle(runtime_dir: Path, bundle: str, shown: int | None) -> int:
    """As `sweep`, for one bundle that no worker publishes now; others may be published meanwhile.

    `shown` is the generation to keep; None: the one that its symlink shows. Raises: OSError.
    """
    with tree.opened_directory(runtime_dir) as root:
        links = [
            name
            for name in os.listdir(root)
            if name.startswith(tree.TEMPORARY_PREFIX) and _is_link_of(root, name, bundle)
        ]
        keep = current_generation(root, bundle) if shown is None else shown
        return _remove_named(root, links) + _sweep_generations(root, bundle, keep)


def _is_link_of(root: int, name: str, bundle: str) -> bool:
    try:
        return os.readlink(name, dir_fd=root).startswith(f"{tree.GENERATIONS}/{bundle}/")
    except OSError:
        return False


def _sweep_generations(root: int, bundle: str, shown: int | None) -> int:
    names = {kind: _listdir(f"{kind}/{bundle}", root) for kind in (tree.GENERATIONS, tree.COPIES)}
    numbers = {int(name) for listed in names.values() for name in listed if name.isdecimal()}
    keep: frozenset[int] = frozenset()
    if shown is not None:
        keep = generations.to_keep(shown, numbers, _digests(root, bundle))
    removed = 0
    for kind, listed in names.items():
        leftovers = [name for name in listed if not (name.isdecimal() and int(name) in keep)]
        if leftovers:
            with tree.opened_directory(f"{kind}/{bundle}", dir_fd=root) as parent:
                removed += _remove_named(parent, leftovers)
    return removed


def _digests(root: int, bundle: str) -> dict[int, str]:
    try:
        with tree.opened_directory(f"{tree.COPIES}/{bundle}", dir_fd=root) as copies:
            return generations.digests(copies)
    except FileNotFoundError:
        return {}


def _remove_named(parent: int, names: list[str]) -> int:
    """How many of them are gone; what root has left there may not be ours to remove, and does no harm."""
    removed = 0
    for name in names:
        with contextlib.suppress(PermissionError):
            tree.remove_tree(name, dir_fd=parent)
            removed += 1
    return removed


def _listdir(path: str, root: int) -> list[str]:
    try:
        with tree.opened_directory(path, dir_fd=root) as directory:
            return os.listdir(directory)
    except FileNotFoundError:
        return []
