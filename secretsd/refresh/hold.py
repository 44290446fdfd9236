"""What an operator's hold or rollback means for a bundle. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from secretsd.config.models import Bundle
from secretsd.errors import Failure, FailureClass
from secretsd.model import Hold, PublishRecord, SecretRef, SecretVersion, Showing

_Key = tuple[str, str, str]


def supersedes(versions: Sequence[SecretVersion], hold: Hold) -> bool:
    """Whether one of `versions` is newer than the one of its secret that was rolled back from.

    Not every other version is: whoever moves AWSCURRENT back to the one that is shown has made nothing new.
    Where a source does not say when a version was made, any version that is neither of the two is newer.
    """
    refused = {_key(version.ref): version for version in hold.refused}
    pinned = {_key(version.ref): version.version_id for version in hold.pinned}
    for version in versions:
        key = _key(version.ref)
        old = refused.get(key)
        if old is None or version.version_id in (old.version_id, pinned.get(key)):
            continue
        # Dates may be of whole seconds: two rotations within one are told apart by their ids alone.
        if version.created_at is None or old.created_at is None or version.created_at >= old.created_at:
            return True
    return False


def pinned(bundle: Bundle, versions: Sequence[SecretVersion]) -> Bundle:
    """The bundle made from these very versions instead of its stages; other secrets stay as they are."""
    ids = {_key(version.ref): version.version_id for version in versions}
    secrets = tuple(
        secret.model_copy(update={"version": ids[_key(secret.ref)]}) if _key(secret.ref) in ids else secret
        for secret in bundle.secrets
    )
    return bundle.model_copy(update={"secrets": secrets})


def rollback_target(
    kept: Mapping[int, PublishRecord], shown: PublishRecord, history: Sequence[Showing], to: int | None
) -> PublishRecord | str:
    """The generation to go back to: `to`, or the last one with a content older than the one that is shown.

    Or why there is none, as the end of a sentence.
    """
    others = {number: record for number, record in kept.items() if record.digest != shown.digest}
    if to is None:
        first = made_as(shown.generation, history)
        older = [number for number in others if number < first]
        return others[max(older)] if older else "no earlier content is kept on this host"
    # Only the newest copy of a content is kept: whoever names an older one means the same.
    same = [number for number in kept if to in _line_of(number, history)]
    if same:
        found = others.get(max(same))
        return found or f"generation {to} has the content that is published, as {shown.generation}"
    names = ", ".join(map(str, sorted(others))) or "none"
    return f"generation {to} is not kept on this host; to go back to: {names}"


def made_as(generation: int, history: Sequence[Showing]) -> int:
    """The generation in which a content was first shown."""
    return _line_of(generation, history)[-1]


def _line_of(generation: int, history: Sequence[Showing]) -> list[int]:
    """The generation, the one it is a copy of, and so on to the one that came from the source."""
    copies = {showing.generation: showing.copy_of for showing in history}
    line = [generation]
    while (original := copies.get(line[-1])) is not None and original < line[-1]:
        line.append(original)
    return line


def new_rollback(
    target: PublishRecord,
    shown: PublishRecord,
    *,
    refused: tuple[SecretVersion, ...],
    now: float,
    by: str,
    reason: str,
) -> Hold:
    """The word that `target` is to be shown in the place of `shown`, until there is something newer."""
    return Hold(
        kind="rollback",
        since=now,
        by=by,
        reason=reason,
        generation=target.generation,
        digest=target.digest,
        pinned=target.versions,
        from_generation=shown.generation,
        refused=refused,
    )


def new_hold(shown: PublishRecord, *, now: float, by: str, reason: str) -> Hold:
    """The word that what is shown stays."""
    return Hold("hold", now, by, reason, shown.generation, shown.digest, shown.versions)


def holds_any(hold: Hold, versions: Sequence[SecretVersion]) -> bool:
    """Whether any of `versions` is one that is held; not so where a source has no versions to ask for."""
    held = {(_key(version.ref), version.version_id) for version in hold.pinned}
    return any((_key(version.ref), version.version_id) in held for version in versions)


def holds_all(hold: Hold, versions: Sequence[SecretVersion]) -> bool:
    """Whether every version that is held is among `versions`."""
    given = {(_key(version.ref), version.version_id) for version in versions}
    return all((_key(version.ref), version.version_id) in given for version in hold.pinned)


def after_reboot(hold: Hold, digest: str) -> Hold:
    """The same word about the same content, whose digest is keyed anew on each boot."""
    return replace(hold, digest=digest)


def of_a_pinned_version(name: str, failure: Failure) -> Failure:
    """What to do about a version that an operator holds and that a reboot has made us ask for."""
    # A version that was pruned is no refusal to sources that tell it from a secret that is gone.
    if failure.failure_class is not FailureClass.REFUSAL and failure.code != "secret-empty":
        return failure
    advice = f"this version is held, and gone: secretsctl resume {name} publishes what the source has now"
    return replace(failure, advice=advice)


def _key(ref: SecretRef) -> _Key:
    # Without the version: a pinned secret is still the same one.
    return ref.source, ref.id, ref.stage
