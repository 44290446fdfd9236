"""Who may do what with which key: nothing but what an entry of the configuration allows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secretsd.signing.buckets import Buckets, TokenBucket
from secretsd.signing.errors import SigningError
from secretsd.signing.model import SEALED_BYTES, Hash, KeyType, Operation, Peer, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secretsd.config.signer import Allowed, Signer, SigningKey

ADMIN_GROUP = "secretsd-admin"
PREHASHED = "prehashed"
PADDINGS = frozenset({"pss", "pkcs1v15"})
HASHES = frozenset(Hash)
_HASHLESS = frozenset({KeyType.ED25519, KeyType.AES_GCM, KeyType.AES_WRAP})


@dataclass(frozen=True, slots=True)
class Ids:
    """The configuration's users and groups that this host has, by name. Who is missing matches nobody."""

    uids: Mapping[str, int]
    gids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Right:
    """One peer's right to use one key."""

    name: str
    key: SigningKey
    words: frozenset[str]  # the hash functions and so on that may be used
    bucket: TokenBucket | None  # the same for all connections of the peer

    @property
    def audit_is_strict(self) -> bool:
        return self.key.audit == "strict"

    def permits(self, operation: Operation) -> None:
        """Raises: SigningError operation-not-allowed."""
        if operation not in self.key.operations:
            raise SigningError(
                "operation-not-allowed",
                f"{self.name}: this operation is not allowed with this key",
                advice=f"name it in the operations of [signer.keys.{self.name}]",
            )

    def take(self, now: float) -> None:
        """Counts one use at `now`, monotonic seconds. Raises: SigningError rate-limited."""
        if self.bucket is not None and not self.bucket.take(now):
            raise SigningError(
                "rate-limited",
                f"{self.name}: this key is used more often than its rate_limit",
                advice=f"ask more slowly, or raise rate_limit of [signer.keys.{self.name}]",
            )

    def check(self, request: Request, needs: frozenset[str]) -> None:
        """Whether the key may be used so. `needs` are the words that `mechanisms` must have for `request`.

        The rate is not counted here: see `take`.

        Raises: SigningError operation-not-allowed, mechanism-not-allowed, message-too-large.
        """
        self.permits(request.operation)
        if not needs <= self.words:
            missing = ", ".join(sorted(needs - self.words))
            raise SigningError(
                "mechanism-not-allowed",
                f"{self.name}: this key may not be used with {missing}",
                advice=f"name it in the mechanisms of [signer.keys.{self.name}], or ask for another",
            )
        limit = self.key.max_message_bytes
        if request.operation is Operation.DECRYPT:
            limit += SEALED_BYTES
        if len(request.payload) > limit:
            raise SigningError(
                "message-too-large",
                f"{self.name}: a message for this key has at most {self.key.max_message_bytes} bytes",
                advice=f"send less, or raise max_message_bytes of [signer.keys.{self.name}]",
            )


class Policy:
    """The configuration's word on who may do what. Never changes: a reload makes another one.

    `daemon_uid` is the user the service runs as, who administers it, too: in the foreground that is oneself.
    """

    def __init__(self, signer: Signer, ids: Ids, *, daemon_uid: int | None = None) -> None:
        self._keys = signer.keys
        self._ids = ids
        self._buckets = Buckets()
        self._admin_uids = frozenset({0} if daemon_uid is None else {0, daemon_uid})
        self._admin_gid = ids.gids.get(ADMIN_GROUP)
        self._words = {name: allowed_words(key) for name, key in signer.keys.items()}
        self.problems = tuple(self._unknown_names())

    def right(self, peer: Peer, key: str) -> Right:
        """The right of `peer` to use `key`. Root has none without an entry either.

        Raises: SigningError unknown-key, no-right.
        """
        configured = self._configured(key)
        if not self._any_matches(configured.allow, peer):
            raise SigningError(
                "no-right",
                f"{key}: {_known_as(peer)} may not use this key",
                advice=f"name it, its user or group in allow of [signer.keys.{key}]; "
                "systemctl reload secretsd-signer",
            )
        limit, who = configured.rate_limit, peer.uid if peer.unit is None else peer.unit
        bucket = None if limit is None else self._buckets.bucket(key, who, limit)
        return Right(key, configured, self._words[key], bucket)

    def visible(self, peer: Peer) -> tuple[str, ...]:
        """The names of the keys that `peer` may use."""
        return tuple(name for name, key in self._keys.items() if self._any_matches(key.allow, peer))

    def is_admin(self, peer: Peer) -> bool:
        return peer.uid in self._admin_uids or (self._admin_gid is not None and self._admin_gid in peer.gids)

    def may_approve(self, peer: Peer, key: str) -> bool:
        """Whether `peer` may approve that `key` enters the token. Raises: SigningError unknown-key."""
        configured = self._configured(key)
        return self.is_admin(peer) or self._any_matches(configured.approvers, peer)

    def _configured(self, key: str) -> SigningKey:
        found = self._keys.get(key)
        if found is None:
            # Not the name: it came from outside.
            raise SigningError(
                "unknown-key",
                "there is no key of this name",
                advice="see secretsctl keys list; each key is a table [signer.keys.NAME]",
            )
        return found

    def _any_matches(self, entries: tuple[Allowed, ...], peer: Peer) -> bool:
        return any(self._matches(entry, peer) for entry in entries)

    def _matches(self, entry: Allowed, peer: Peer) -> bool:
        """All that the entry names; an empty one (the configuration refuses it) would match nobody."""
        tests = []
        if entry.unit is not None:
            tests.append(entry.unit == peer.unit)
        if entry.user is not None:
            tests.append(self._ids.uids.get(entry.user) == peer.uid)
        if entry.group is not None:
            tests.append(self._ids.gids.get(entry.group) in peer.gids)
        return bool(tests) and all(tests)

    def _unknown_names(self) -> list[str]:
        found = []
        for name, key in self._keys.items():
            for list_name, entries in (("allow", key.allow), ("approvers", key.approvers)):
                for entry in entries:
                    if entry.user is not None and entry.user not in self._ids.uids:
                        found.append(_matches_nobody(name, list_name, "user", entry.user))
                    if entry.group is not None and entry.group not in self._ids.gids:
                        found.append(_matches_nobody(name, list_name, "group", entry.group))
        return found


def allowed_words(key: SigningKey) -> frozenset[str]:
    """What requests may need: the listed; without a hash the type's own, without a padding of RSA both."""
    listed, type_ = frozenset(key.mechanisms or ()), KeyType(key.type)
    hashes = {type_.own_hash} if type_ not in _HASHLESS and not listed & HASHES else set()
    return listed | hashes | (PADDINGS if type_.is_rsa and not listed & PADDINGS else set())


def _known_as(peer: Peer) -> str:
    """What an entry would have to match. It is often not what one thinks: a unit with a Slice= has none."""
    if peer.unit is None:
        return f"uid {peer.uid}, in no service of system.slice,"
    return f"{peer.unit} (uid {peer.uid})"


def _matches_nobody(key: str, list_name: str, what: str, who: str) -> str:
    return f"signer.keys.{key}: {list_name} names the {what} {who!r}, unknown on this host: it matches nobody"
