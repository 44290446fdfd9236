"""Every action that a record can have; docs/audit.md says what each means. Pure."""

from __future__ import annotations

from secretsd.signing.model import Operation

OF_THE_LOG = frozenset({"open", "recovery", "withheld", "unusual", "start", "stop", "reload", "prune"})
OF_KEYS = frozenset(map(str, Operation)) | {
    *("generate", "import", "retire", "unlock", "report", "unwrap-request", "approve", "unreadable"),
}
OF_SECRETS = frozenset(
    {
        *("configure", "fetch", "refetch", "publish", "unseal", "seal", "refresh", "restore", "remove"),
        *("drift", "notify", "release", "push", "hint", "discard"),
    }
)
OF_ORDERS = frozenset(
    {
        *("hold", "resume", "rollback", "ack", "plan", "diff", "schema", "doctor", "alert-test"),
        *("status", "history", "cost", "wait", "unknown"),  # where they were refused
    }
)
EVERY = OF_THE_LOG | OF_KEYS | OF_SECRETS | OF_ORDERS
