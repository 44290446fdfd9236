"""Who may use which key, and for what. Pure: names are resolved elsewhere (resolve.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


from secretsd.config.signer import Signer, SigningKey
from secretsd.signing.buckets import Buckets, TokenBucket
from secretsd.signing.errors import SigningError
from secretsd.signing.model import Peer, Request

_PADDINGS = frozenset({"pss", "pkcs1v15"})
_HASHES = frozenset({"sha2-256", "sha2-384", "sha2-512"})
_OWN_HASH = {"ecdsa-p384": "sha2-384"}


@dataclass(frozen=True, slots=True)
class Who:
    """One entry of an `allow` list, with the users' numbers. All that is not None must match."""

    unit: str | None
    uid: int | None
    gid: int | None

    def matches(self, peer: Peer) -> bool:
        return (
            (self.unit is None or self.unit == peer.unit)
            and (self.uid is None or self.uid == peer.uid)
            and (self.gid is None or self.gid in peer.gids)
            and not (self.unit is None and self.uid is None and self.gid is None)
        )


@dataclass(frozen=True, slots=True)
class Admins:
    """Who may make, import, retire and approve keys."""

    uids: frozenset[int]
    gid: int | None

    def include(self, peer: Peer) -> bool:
        return peer.uid in self.uids or (self.gid is not None and self.gid in peer.gids)


@dataclass(frozen=True, slots=True)
class Right:
    """One peer's right to one key."""

    key: SigningKey
    mechanisms: frozenset[str]
    bucket: TokenBucket | None

    @property
    def is_strict(self) -> bool:
        return self.key.audit == "strict"

    def check(self, request: Request, needs: frozenset[str]) -> None:
        """`needs` are the words of `mechanisms` that the request requires. Raises: SigningError."""
        if request.operation not in self.key.operations:
            raise SigningError(
                "operation-not-allowed",
                f"the configuration does not allow {request.operation} with this key",
                advice=f"add it to operations in [signer.keys.{request.key}]",
            )
        if not needs <= self.mechanisms:
            missing = ", ".join(sorted(needs - self.mechanisms))
            raise SigningError(
                "mechanism-not-allowed",
                f"the configuration does not allow {missing} with this key",
                advice=f"add it to mechanisms in [signer.keys.{request.key}]",
            )
        if len(request.payload) > self.key.max_message_bytes:
            raise SigningError(
                "message-too-large",
                f"the message is larger than the {self.key.max_message_bytes} bytes that the key takes",
                advice=f"see max_message_bytes in [signer.keys.{request.key}]",
            )


@dataclass(frozen=True)
class Policy:
    """The configuration's answer to every peer. Immutable: a reload makes another one."""

    config: Signer
    allowed: Mapping[str, tuple[Who, ...]]  # by key
    approvers: Mapping[str, tuple[Who, ...]]  # by key
    admins: Admins
    buckets: Buckets = field(compare=False)

    def right(self, peer: Peer, key: str) -> Right:
        """Raises: SigningError unknown-key, no-right."""
        config = self.config.keys.get(key)
        if config is None:
            raise SigningError(
                "unknown-key",
                "the signer's configuration has no such key",
                advice="secretsctl keys list shows the keys that you may use",
            )
        if not _one_of(self.allowed[key], peer):
            raise SigningError(
                "no-right",
                f"this process may not use {key}",
                advice=f"add its unit, user or group to allow in [signer.keys.{key}], reload secretsd-signer",
            )
        bucket = None
        if config.rate_limit is not None:
            bucket = self.buckets.of(key, peer.unit or str(peer.uid), config.rate_limit)
        return Right(config, mechanisms_of(config), bucket)

    def visible(self, peer: Peer) -> tuple[str, ...]:
        """The keys that the peer may use."""
        return tuple(key for key, entries in self.allowed.items() if _one_of(entries, peer))

    def is_admin(self, peer: Peer) -> bool:
        return self.admins.include(peer)

    def may_approve(self, peer: Peer, key: str) -> bool:
        """Whether the peer may let the key into the token. Whether it is another one than asked is not known here."""
        return self.is_admin(peer) or _one_of(self.approvers.get(key, ()), peer)


def mechanisms_of(key: SigningKey) -> frozenset[str]:
    """The words that the key's uses may need."""
    named = frozenset(key.mechanisms or ())
    hashes = named & _HASHES or frozenset({_OWN_HASH.get(key.type, "sha2-256")})
    paddings = named & _PADDINGS or _PADDINGS
    return named | hashes | paddings


def _one_of(entries: tuple[Who, ...], peer: Peer) -> bool:
    return any(who.matches(peer) for who in entries)
