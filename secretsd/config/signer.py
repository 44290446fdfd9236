"""The tables of `[signer]`: the token, its keys, and who may do what with each."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, LiteralString, Self

from pydantic import Field, model_validator

from secretsd.config.fields import (
    AbsolutePath,
    AtLeastOne,
    Count,
    Interval,
    MessageBytes,
    Name,
    ObjectId,
    OneOrMore,
    PinPlace,
    Rate,
    SessionCount,
    Several,
    SocketPath,
    TimeSpan,
    TokenText,
    UnitName,
    UserName,
    refused,
)
from secretsd.config.observe import METRICS_SOCKET_NAME
from secretsd.config.table import Table

INSTALLED_SIGNER_DIR = Path("/run/secretsd-signer")
_VERSION_LABEL = re.compile(r":v[0-9]+\Z")
_OF_ALL = {"wrap", "unwrap"}
_HASHES = {"sha2-256", "sha2-384", "sha2-512"}
# What a family of keys can do at all, and with what.
_OPERATIONS = {
    "ecdsa": {"sign", "verify", "public-key", *_OF_ALL},
    "ed25519": {"sign", "verify", "public-key", *_OF_ALL},
    "rsa": {"sign", "verify", "public-key", *_OF_ALL},
    "hmac": {"hmac", "verify", *_OF_ALL},
    "aes256": {"encrypt", "decrypt", *_OF_ALL},
}
_MECHANISMS = {
    "ecdsa": {*_HASHES, "prehashed"},
    "ed25519": set[str](),
    "rsa": {*_HASHES, "prehashed", "pss", "pkcs1v15"},
    "hmac": _HASHES,
    "aes256": set[str](),
}
MAX_MESSAGE_BYTES = 61440  # what fits a frame of 64 KiB beside its head, names and associated data


def _family(type_: str) -> str:
    return type_.partition("-")[0]


class Allowed(Table):
    """One kind of peer that is meant. All fields that are given must match, one entry is enough."""

    unit: UnitName | None = Field(
        default=None,
        description="A process of this system service, known by its exact control group below system.slice. A"
        " service with a Slice= of its own is not known.",
        examples=["trading-bot.service"],
    )
    user: UserName | None = Field(
        default=None, description="A process of this user.", examples=["trading-bot"]
    )
    group: UserName | None = Field(
        default=None,
        description="A process whose primary or supplementary groups have this one.",
        examples=["treasury"],
    )

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if self.unit is None and self.user is None and self.group is None:
            raise refused("must name a unit, a user or a group: an empty entry would match everybody")
        return self


class SigningKey(Table):
    """A key on the token, by the name that clients use.

    Without an entry in `allow` nobody may use it, root included. What is not listed in `operations` and
    `mechanisms` is refused.
    """

    label: TokenText | None = Field(
        default=None,
        description="CKA_LABEL of the key's first version; later versions are LABEL:v2, LABEL:v3 and so on."
        " By default the key's name here.",
        examples=["hot-wallet"],
    )
    id: ObjectId | None = Field(
        default=None,
        description="CKA_ID of the key in hexadecimal digits, instead of a label. Such a key has one"
        " version.",
        examples=["01ab"],
    )
    type: Literal[
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-secp256k1",
        "ed25519",
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
        "hmac",
        "aes256-gcm96",
        "aes256-wrap",
    ] = Field(
        description="What the key is. The token's key must be of this type and size, or it is not used."
        " aes256-wrap is a key that other keys are wrapped with, and nothing else.",
        examples=["ecdsa-secp256k1"],
    )
    operations: Several[
        Literal["sign", "verify", "public-key", "hmac", "encrypt", "decrypt", "wrap", "unwrap"]
    ] = Field(
        default=(),
        description="What may be asked of the key. wrap and unwrap are of the key that leaves and enters,"
        " not of the key that wraps it, of which nothing can be asked.",
        examples=[["sign", "verify", "public-key"]],
    )
    mechanisms: (
        OneOrMore[Literal["sha2-256", "sha2-384", "sha2-512", "prehashed", "pss", "pkcs1v15"]] | None
    ) = Field(
        default=None,
        description="The hash functions that may be used, by default the one that belongs to the type:"
        ' sha2-384 for ecdsa-p384, else sha2-256. "prehashed" lets a client send a digest instead of the'
        " message. pss and pkcs1v15 are the paddings of RSA; where neither is named, both may be used.",
        examples=[["sha2-256"]],
    )
    allow: Several[Allowed] = Field(
        default=(),
        description="Who may use the key.",
        examples=[[{"unit": "trading-bot.service"}, {"user": "treasury"}]],
    )
    approvers: Several[Allowed] = Field(
        default=(),
        description="Who may approve that the key enters the token (secretsctl approve); root and members of"
        " the group secretsd-admin may in any case. Never the user who asked.",
        examples=[[{"user": "treasury"}]],
    )
    wrapped_by: Name | None = Field(
        default=None,
        description="The key of type aes256-wrap with which this one is wrapped. A key without it is made"
        " so that it can never leave the token.",
        examples=["backup-kek"],
    )
    max_message_bytes: MessageBytes = Field(
        default=MAX_MESSAGE_BYTES, description="The largest message that is taken.", examples=[4096]
    )
    rate_limit: Rate | None = Field(
        default=None,
        description="How often one peer, a unit or else a user, may use the key; as many at once, then at"
        " this rate.",
        examples=["50/s", "600/m"],
    )
    audit: Literal["strict", "batched"] = Field(
        default="strict",
        description="When a use is on the disk: before the answer, or within 50 ms after it.",
        examples=["batched"],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        conflicts: list[LiteralString] = []
        if self.label is not None and self.id is not None:
            conflicts.append("label and id exclude each other: either finds the key")
        if self.wrapped_by is None and {"wrap", "unwrap"} & set(self.operations):
            conflicts.append("wrap and unwrap need wrapped_by, the key to wrap with")
        if self.type == "aes256-wrap" and (self.operations or self.allow or self.mechanisms):
            conflicts.append(
                "a key of type aes256-wrap only wraps others: operations, mechanisms, allow are not for it"
            )
        elif self.type != "aes256-wrap" and not self.operations:
            conflicts.append("operations is missing: nothing could be asked of the key")
        elif not set(self.operations) <= _OPERATIONS[_family(self.type)]:
            conflicts.append("an element of operations is not for this type of key: see secretsd.toml(5)")
        if not set(self.mechanisms or ()) <= _MECHANISMS[_family(self.type)]:
            conflicts.append("an element of mechanisms is not for this type of key: see secretsd.toml(5)")
        if self.label is not None and _VERSION_LABEL.search(self.label):
            conflicts.append("label must not end in :vN, which is how later versions are named")
        if conflicts:
            raise refused(conflicts[0], also=conflicts[1:])
        return self


class Signer(Table):
    """The signing service (secretsd-signer): keys stay on a PKCS#11 token, processes of this host use them.

    Only secretsd-signer reads this table; the refresher passes it over.
    """

    module: AbsolutePath = Field(
        description="The token's PKCS#11 library.",
        examples=["/usr/lib/softhsm/libsofthsm2.so", "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so"],
    )
    token: TokenText | None = Field(default=None, description="The label of the token.", examples=["trading"])
    slot: Count | None = Field(
        default=None, description="The number of the token's slot, instead of its label.", examples=[0]
    )
    pin: PinPlace = Field(
        description="Where the PIN is: credential:NAME for a credential of systemd, file:PATH for a file of"
        " mode 0600. Never the PIN itself. For CloudHSM it is USER:PASSWORD.",
        examples=["credential:hsm-pin", "file:/etc/secretsd-signer/pin"],
    )
    sessions: SessionCount = Field(
        default=8,
        description="How many calls the token is given at a time, each in a session and a thread of its own;"
        " 16 to 64 for a network HSM.",
        examples=[32],
    )
    dispatch: Literal["workers", "inline"] = Field(
        default="workers",
        description="Where calls are made. workers: each in a thread. inline: in the thread that serves the"
        " sockets, which is quicker for a token on this host and wrong for every other: a call that hangs"
        " then stops all.",
        examples=["inline"],
    )
    hang_limit_s: Interval = Field(
        default=10.0,
        alias="hang_limit",
        description="How long a call may hang before the process ends and systemd starts it anew. With"
        " workers the journal says for which key; with inline it says status=14/ALRM alone.",
        examples=["10s"],
    )
    queue: AtLeastOne = Field(
        default=1024, description="How many requests may wait for the token.", examples=[1024]
    )
    max_connections_per_user: AtLeastOne = Field(
        default=128, description="How many connections one user may have open.", examples=[128]
    )
    max_requests_per_user: AtLeastOne = Field(
        default=256,
        description="How many requests of one user may be under way, over all its connections.",
        examples=[256],
    )
    approval_timeout_s: TimeSpan = Field(
        default=600.0,
        alias="approval_timeout",
        description="How long an unwrap waits for its approval.",
        examples=["10m"],
    )
    socket: SocketPath = Field(
        default=INSTALLED_SIGNER_DIR / "signer.sock",
        description="The socket that speaks HTTP with the paths of Transit.",
        examples=["/run/secretsd-signer/signer.sock"],
    )
    seqpacket_socket: SocketPath = Field(
        default=INSTALLED_SIGNER_DIR / "signer.seq",
        description="The SOCK_SEQPACKET socket of the native protocol.",
        examples=["/run/secretsd-signer/signer.seq"],
    )
    metrics_socket: SocketPath = Field(
        default_factory=lambda data: data["socket"].parent / METRICS_SOCKET_NAME,
        description="The socket that serves metrics and health, as [metrics] does for the refresher; by"
        " default metrics.sock beside `socket`.",
        examples=["/run/secretsd-signer/metrics.sock"],
    )
    state_dir: AbsolutePath = Field(
        default=Path("/var/lib/secretsd-signer"),
        description="Where the audit trail is kept.",
        examples=["/home/me/.local/state/secretsd-signer"],
    )
    keys: Mapping[Name, SigningKey] = Field(
        default_factory=dict,
        description="The keys, by the names that clients use.",
        examples=[{"orders": {"type": "hmac", "operations": ["hmac"], "allow": [{"user": "bot"}]}}],
    )

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if (self.token is None) == (self.slot is None):
            raise refused("must name the token by label (token) or by number (slot), not both")
        return self
