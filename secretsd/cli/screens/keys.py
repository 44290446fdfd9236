"""The screens about keys of secretsd-signer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secretsd.cli.text import GREEN, RED, YELLOW, Cell, View, printable, sentence, table
from secretsd.cli.times import span

Document = Mapping[str, Any]


def listed(document: Document, view: View) -> str:
    """`secretsctl keys list`: those in trouble first, then why."""
    keys = sorted(document.get("keys") or (), key=lambda key: (not key.get("problem"), str(key.get("name"))))
    if not keys:
        return (
            "there is no key that you may use: "
            "an operator names you in allow of [signer.keys.NAME], see secretsd.toml(5)"
        )
    rows: list[Sequence[str | Cell]] = [("KEY", "STATE", "VERSIONS", "TYPE", "OPERATIONS")]
    lines = table([*rows, *map(_row, keys)], view)
    # One reason that all have is told once.
    reasons: dict[str, list[str]] = {}
    for key in keys:
        if problem := key.get("problem"):
            reason = ": ".join(filter(None, (str(problem.get("text")), problem.get("fix"))))
            reasons.setdefault(reason, []).append(str(key.get("name")))
    for text, names in reasons.items():
        lines += ["", *sentence(f"{', '.join(names)}: {text}", view, indent="")]
    return "\n".join(lines)


def _row(key: Document) -> tuple[str | Cell, ...]:
    versions = key.get("versions") or ()
    newest = versions[-1] if versions else {}
    if key.get("problem"):
        state = Cell(str(key["problem"].get("code")), RED)
    elif newest.get("retired"):
        state = Cell("retired", YELLOW)
    else:
        state = Cell("ready", GREEN)
    numbers = [f"{each.get('version')}{' retired' if each.get('retired') else ''}" for each in versions]
    operations = " ".join(key.get("operations") or ())
    return str(key.get("name")), state, ", ".join(numbers) or "-", str(key.get("type")), operations or "-"


def made(document: Document, how: str) -> str:
    """A new version of a key, with its public key where it has one."""
    first = f"{how}: version {document.get('version')} of {document.get('name')}"
    # PEM has lines of its own.
    public = str(document.get("public_key") or "").splitlines()
    return "\n".join(map(printable, [first, *public]))


def asked(document: Document, key: str, file: str, *, is_waiting: bool) -> str:
    """What to do after `secretsctl keys unwrap`."""
    request_id, left = document.get("request_id"), span(float(document.get("expires_in_s") or 0))
    lines = [
        f"asked for: {key}, request {request_id}",
        f"within {left} another user runs:",
        f"  secretsctl approve {request_id}",
    ]
    if not is_waiting:
        lines += ["then you run:", f"  secretsctl keys unwrap {key} --in {file} --request {request_id}"]
    return "\n".join(lines)


def waiting(document: Document, view: View, names: Mapping[int, str], uid: int) -> str:
    """`secretsctl approve`: a block for each request, since ids and hashes are too wide for a table.

    `names` are users' by their uids, as far as this host has them; `uid` is who looks.
    """

    def who(asked: object) -> str:
        name = names.get(asked) if isinstance(asked, int) else None
        return f"uid {asked}" if name is None else f"{name} (uid {asked})"

    lines: list[str] = []
    for each in document.get("approvals") or ():
        is_approved = each.get("approver_uid") is not None
        state = f"approved by {who(each.get('approver_uid'))}" if is_approved else "waits"
        left = span(float(each.get("expires_in_s") or 0))
        about = f"{each.get('key')}: asked for by {who(each.get('requester_uid'))}, {state}, {left} left"
        lines += ["", *sentence(about, view, indent="")]
        lines.append(f"  blob SHA-256: {each.get('blob_sha256')}")
        if not is_approved:
            # Whoever asked is refused, so that one passes it on.
            whose = "another user:" if each.get("requester_uid") == uid else "to approve:  "
            lines.append(f"  {whose} secretsctl approve {each.get('request_id')}")
    return "\n".join(lines[1:]) or "nothing waits for an approval"
