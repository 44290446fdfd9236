"""Publishing: a bundle's files become visible all at once, with their final owner and mode.

A new generation is built under a name that nobody knows, given its number, and shown by one rename of a
symlink. Whoever kills this at any system call leaves the old bundle or the new one, and leftovers that
`published.sweep` removes at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from secretsd.errors import Failure, FailureClass, FailureError
from secretsd.model import Candidate, PublishedFile, PublishRecord
from secretsd.refresh import messages
from secretsd.refresh.files import generations, tree

# tmpfs stays readable for the owner's group: a bot's sidecar may list a bundle, its files stay 0600.
BUNDLE_MODE = 0o750
_TREE_MODE = 0o711
_OWN_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom the files are given to; -1 keeps the daemon's own."""

    uid: int = -1
    gid: int = -1


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One output of a bundle, ready to be written."""

    path: str  # relative to the bundle's directory
    content: bytes = field(repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a rendered file does not leave its worker")


def content_digest(key: bytes, files: tuple[RenderedFile, ...], owner: Owner) -> str:
    """What two publications of the same content share: hex, keyed, over paths, contents and owner."""
    digest = hmac.new(key, f"{owner.uid}:{owner.gid}".encode(), hashlib.sha256)
    for file in sorted(files, key=lambda file: file.path):
        digest.update(f"|{len(file.path.encode())}:{file.path}:{len(file.content)}:".encode())
        digest.update(file.content)
    return digest.hexdigest()


def variable_digests(key: bytes, bundle: str, values: Mapping[str, bytes]) -> dict[str, str]:
    """By name, what tells whether a variable has changed: hex, keyed, of no use for any other."""
    return {
        name: hmac.new(key, f"{bundle}|{name}|".encode() + value, hashlib.sha256).hexdigest()[:32]
        for name, value in values.items()
    }


def publish(
    runtime_dir: Path,
    candidate: Candidate,
    generation: int,
    files: tuple[RenderedFile, ...],
    owner: Owner,
) -> PublishRecord:
    """Shows `files` as the bundle's generation `generation`.

    Returns the record, whose times were read after the swap: a unit that started later has read them.
    Raises: FailureError of class IO; the old generation then still stands.
    """
    try:
        with tree.opened_directory(runtime_dir) as root:
            return _publish(root, candidate, generation, files, owner)
    except OSError as error:
        raise FailureError(io_failure(error, f"cannot publish bundle {candidate.bundle}")) from None


def _publish(
    root: int, candidate: Candidate, generation: int, files: tuple[RenderedFile, ...], owner: Owner
) -> PublishRecord:
    bundle = candidate.bundle
    with (
        _bundle_directory(root, tree.GENERATIONS, bundle, _TREE_MODE, BUNDLE_MODE, owner.gid) as shown,
        _bundle_directory(root, tree.COPIES, bundle, _OWN_MODE, _OWN_MODE, -1) as copies,
    ):
        before = current_generation(root, bundle)
        try:
            written = _build_generation(shown, str(generation), files, owner)
            record = _record(candidate, generation, written)
            _build_copy(copies, str(generation), files, record)
            _swap(root, bundle, generation)
        except OSError:
            # Best effort: what cannot be removed now is removed at the next start.
            with contextlib.suppress(OSError):
                _remove_unshown(root, bundle, generation, shown, copies)
            raise
        record = replace(record, published_at=time.time(), published_monotonic=time.monotonic())
        # The bundle is shown: what could not be tidied up now is tidied up at the next start.
        with contextlib.suppress(OSError, MemoryError):
            _remove_others(shown, copies, generation, before)
    return record


@contextlib.contextmanager
def _bundle_directory(
    root: int, kind: str, bundle: str, parent_mode: int, mode: int, gid: int
) -> Iterator[int]:
    tree.make_directory(kind, parent_mode, dir_fd=root)
    with tree.opened_directory(kind, dir_fd=root) as parent:
        tree.make_directory(bundle, mode, dir_fd=parent)
        with tree.opened_directory(bundle, dir_fd=parent) as directory:
            if gid != -1 and os.fstat(directory).st_gid != gid:
                os.fchown(directory, -1, gid)
            yield directory


def _build_generation(
    parent: int, name: str, files: tuple[RenderedFile, ...], owner: Owner
) -> tuple[PublishedFile, ...]:
    temporary = tree.temporary_name()
    try:
        os.mkdir(temporary, _OWN_MODE, dir_fd=parent)
        with tree.opened_directory(temporary, dir_fd=parent) as directory:
            written = tuple(_write_output(directory, file, owner) for file in files)
            _open_to_group(directory, owner)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        with contextlib.suppress(OSError):
            tree.remove_tree(temporary, dir_fd=parent)
        raise
    return written


def _write_output(directory: int, file: RenderedFile, owner: Owner) -> PublishedFile:
    parts = PurePosixPath(file.path).parts
    with contextlib.ExitStack() as stack:
        for part in parts[:-1]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, _OWN_MODE, dir_fd=directory)
            directory = stack.enter_context(tree.opened_directory(part, dir_fd=directory))
            _open_to_group(directory, owner)
        status = tree.create_file(parts[-1], file.content, dir_fd=directory, uid=owner.uid, gid=owner.gid)
    return PublishedFile(
        path=file.path,
        inode=status.st_ino,
        size=status.st_size,
        ctime_ns=status.st_ctime_ns,
        uid=status.st_uid,
        gid=status.st_gid,
        mode=status.st_mode,
    )


def _open_to_group(directory: int, owner: Owner) -> None:
    if owner.gid != -1:
        os.fchown(directory, -1, owner.gid)
    os.fchmod(directory, BUNDLE_MODE)


def _build_copy(parent: int, name: str, files: tuple[RenderedFile, ...], record: PublishRecord) -> None:
    temporary = tree.temporary_name()
    try:
        os.mkdir(temporary, _OWN_MODE, dir_fd=parent)
        with tree.opened_directory(temporary, dir_fd=parent) as directory:
            for index, file in enumerate(files):
                tree.create_file(str(index), file.content, dir_fd=directory)
            tree.create_file(tree.RECORD, messages.encode_record(record), dir_fd=directory)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        with contextlib.suppress(OSError):
            tree.remove_tree(temporary, dir_fd=parent)
        raise


def _record(candidate: Candidate, generation: int, written: tuple[PublishedFile, ...]) -> PublishRecord:
    return PublishRecord(
        bundle=candidate.bundle,
        generation=generation,
        published_at=time.time(),
        published_monotonic=time.monotonic(),
        digest=candidate.digest,
        versions=candidate.versions,
        variables=candidate.variables,
        defaults=candidate.defaults,
        files=written,
        variable_digests=candidate.variable_digests,
        copy_of=candidate.copy_of,
        unsealed=candidate.unsealed,
    )


def _swap(root: int, bundle: str, generation: int) -> None:
    temporary = tree.temporary_name()
    # Relative, so that a container that mounts the runtime directory elsewhere can follow it.
    os.symlink(f"{tree.GENERATIONS}/{bundle}/{generation}", temporary, dir_fd=root)
    try:
        os.rename(temporary, bundle, src_dir_fd=root, dst_dir_fd=root)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=root)
        raise


def _remove_unshown(root: int, bundle: str, generation: int, shown: int, copies: int) -> None:
    if current_generation(root, bundle) == generation:
        return  # the rename had happened before its error was seen
    for parent in (shown, copies):
        tree.remove_tree(str(generation), dir_fd=parent)


def _remove_others(shown: int, copies: int, generation: int, before: int | None) -> None:
    """Removes what no longer stays now that `generation` is shown and no longer `before`.

    None: there was no link, perhaps since somebody has removed it, which must not take away more than that.
    """
    numbers = {int(name) for name in os.listdir(shown) if name.isdecimal()}
    keep = generations.to_keep(generation, numbers, generations.digests(copies), before=before)
    names = {str(number) for number in keep}
    for parent in (shown, copies):
        for name in os.listdir(parent):
            if name not in names:
                tree.remove_tree(name, dir_fd=parent)


def current_generation(root: int, bundle: str) -> int | None:
    """The generation that the bundle's symlink shows; None where there is none of ours.

    Raises: OSError where that cannot be told: what looks unshown would be removed.
    """
    try:
        target = os.readlink(bundle, dir_fd=root)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None  # something else stands there
        raise
    prefix, _, number = target.rpartition("/")
    return int(number) if prefix == f"{tree.GENERATIONS}/{bundle}" and number.isdecimal() else None


_IO_CODES = {
    errno.EISDIR: (
        "in-the-way",
        "has a directory where the bundle's link belongs",
        "remove that directory: /run/secretsd/BUNDLE is secretsd's own",
    ),
    errno.ENOSPC: (
        "no-space",
        "is full",
        "mount -o remount,size=64m,nr_inodes=65536 /run/secretsd makes it larger now,"
        " /usr/libexec/secretsd/mount-runtime sets both for the next boot",
    ),
    errno.EDQUOT: ("no-space", "is over its quota", "raise the quota"),
    errno.EROFS: ("read-only", "is read-only", "mount -o remount,rw /run/secretsd"),
    errno.EMFILE: ("no-descriptors", "could not be opened: too many open files", "raise LimitNOFILE="),
    errno.ENFILE: ("no-descriptors", "could not be opened: too many open files", "raise fs.file-max"),
    errno.ENOMEM: ("no-memory", "could not be written: out of memory", "free memory on this host"),
    errno.EACCES: ("not-permitted", "may not be written", "check its owner and mode: it is secretsd's, 0711"),
    errno.EPERM: ("not-permitted", "refused a change of owner", "secretsd.service needs CAP_CHOWN"),
    errno.ENOENT: ("missing", "is missing", "systemctl restart secretsd-runtime.service secretsd.service"),
}


def io_failure(error: OSError, what: str) -> Failure:
    """`error` as a failure of this host; `what` begins the sentence."""
    code, sentence, advice = _IO_CODES.get(
        error.errno or 0,
        (
            "io-error",
            f"failed: {os.strerror(error.errno or errno.EIO)}",
            "see dmesg; check the runtime directory",
        ),
    )
    return Failure(code, FailureClass.IO, f"{what}: the runtime directory {sentence}", advice)
