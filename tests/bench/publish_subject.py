"""The publish step as the daemon's user runs it, for `publish_faults`, and what runs before and after it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from secretsd.errors import FailureError
from secretsd.model import CURRENT_STAGE, Candidate, SecretRef, SecretVersion
from secretsd.refresh.files import drift, published
from secretsd.refresh.files.memory import memory_kind
from secretsd.refresh.files.publish import Owner, RenderedFile, publish
from tests.bench import bundle_checks as checks
from tests.bench import daemon_user
from tests.bench.injection import InjectionError, Subject

PUBLISHED, FAILED, NO_MEMORY, UNNAMED = 0, 3, 4, 5


def subject(runtime_dir: Path, generation: int) -> Subject:
    """A publish to be traced; its code returns one of the constants above."""
    return Subject(prepare=daemon_user.become, code=partial(publish_generation, runtime_dir, generation))


def publish_generation(runtime_dir: Path, generation: int) -> int:
    """Publishes that generation's contents; returns how it went."""
    files = tuple(RenderedFile(path, content) for path, content in checks.contents(generation).items())
    owner = Owner(checks.OWNER_UID, checks.OWNER_GID)
    try:
        publish(runtime_dir, _candidate(generation), generation, files, owner)
    except FailureError:
        return FAILED
    except MemoryError:
        return NO_MEMORY
    except Exception:  # noqa: BLE001 - that there is such an error is the finding
        return UNNAMED
    return PUBLISHED


def _candidate(generation: int) -> Candidate:
    ref = SecretRef("aws", "fake/production", CURRENT_STAGE)
    return Candidate(
        bundle=checks.BUNDLE,
        digest=f"{generation:064x}",
        versions=(SecretVersion(ref, f"fake-version-{generation}", None),),
        variables=("FAKE_KEY",),
        defaults=(),
        ignored={},
    )


def start(runtime_dir: Path, shown: int) -> int:
    """What the daemon does at its start, and whether it then knows the bundle as what it is."""
    published.prepare(runtime_dir)
    published.sweep(runtime_dir, {})
    record = published.read_record(runtime_dir, checks.BUNDLE)
    if record is None:
        return 1 if shown else 0
    return 0 if record.generation == shown and drift.is_intact(runtime_dir, record) else 1


def make_bundle(runtime_dir: Path, generations: int) -> None:
    """A runtime directory of the daemon's user where generations 1 to `generations` were published."""
    runtime_dir.mkdir(mode=0o711)
    runtime_dir.chmod(0o711)
    os.chown(runtime_dir, daemon_user.UID, daemon_user.GID)

    def make() -> int:
        published.prepare(runtime_dir)
        return max(
            (publish_generation(runtime_dir, number + 1) for number in range(generations)), default=PUBLISHED
        )

    if daemon_user.run(make) != PUBLISHED:
        raise InjectionError("the bundle to start from could not be published")


def fresh(place: Path, generations: int) -> Path:
    """The same, in an empty `place`."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o711)
    place.chmod(0o711)
    make_bundle(place / "run", generations)
    return place / "run"


@contextmanager
def memory() -> Iterator[Path]:
    """A directory on a tmpfs that every user may pass. Raises InjectionError."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="secretsd-publish-faults-") as name:
        if not memory_kind(Path(name)).is_memory:
            raise InjectionError("/dev/shm is no tmpfs: the publish step needs one, as in the service")
        Path(name).chmod(0o711)
        yield Path(name)
