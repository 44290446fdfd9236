"""The command that reads the audit trail back from S3, and says whether it is whole."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from secretsd.cli import asking
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command, add_json
from secretsd.cli.paper import fitted
from secretsd.cli.spinner import spinning
from secretsd.cli.text import clean, printable
from secretsd.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from secretsd.shipping.proof.bucket import Bucket
    from secretsd.shipping.proof.download import Download
    from secretsd.shipping.proof.verification import Part, Verdict

_FEW = 20  # findings that are shown of a chain, but with --json


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "place",
        metavar="s3://BUCKET/PREFIX",
        help="bucket and prefix of [audit.s3]; or a directory with a copy",
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="write the audit files here, too")
    parser.add_argument("--host", metavar="NAME", help="only this host's; default: all")
    parser.add_argument("--region", metavar="NAME", help="the bucket's; default: AWS_REGION")
    parser.add_argument("--endpoint-url", metavar="URL", help="another address of S3 than the region's")
    add_json(parser)


def _audit_restore(options: argparse.Namespace) -> int:
    from secretsd.shipping.proof.restore import Restored

    objects = objects_of(options.place, options.region, options.endpoint_url)
    restored = Restored(options.to) if options.to is not None else None
    return verified(objects, options.host, restored.keep if restored else None, is_json=options.json)


def verified(
    objects: Bucket | Download,
    host: str | None = None,
    keep: Callable[[str, str, Part], None] | None = None,
    *,
    is_json: bool,
) -> ExitCode:
    """Prints what is found in `objects`, of one host or of all. Raises: SecretsdError."""
    with spinning("reading every version of every object"):
        verdicts = _verdicts(objects, host, keep)
    if is_json:
        asking.print_json(clean(document(verdicts)))
    else:
        print("\n\n".join(map(_screen, verdicts)) or fitted("nothing is there", sys.stdout))
    if not verdicts:
        return ExitCode.DATA
    return ExitCode.DATA if any(verdict.flaw for verdict in verdicts) else ExitCode.OK


def objects_of(place: str, region: str | None = None, endpoint_url: str | None = None) -> Bucket | Download:
    """What is at s3://BUCKET/PREFIX, or in a directory. Raises: UsageError, LocalIOError."""
    if Path(place).is_dir():
        from secretsd.shipping.proof.download import Download

        return Download(Path(place))
    from secretsd.shipping.proof.bucket import Bucket

    bucket, prefix = _place(place)
    return Bucket(bucket, prefix, region, endpoint_url)


def _place(text: str) -> tuple[str, str]:
    """Bucket and prefix. Raises: UsageError."""
    scheme, _, rest = text.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(
            "where the trail is must be s3://BUCKET/PREFIX, or a directory that is there",
            advice="see [audit.s3] of the host",
        )
    return bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _verdicts(
    objects: Bucket | Download, host: str | None, keep: Callable[[str, str, Part], None] | None
) -> list[Verdict]:
    from secretsd.shipping.proof.verification import places_of, verify

    found = []
    places = places_of(list(objects.versions(host)), objects.prefix)
    for (name, daemon), versions in sorted(places.items()):
        kept = None if keep is None else _keeping(keep, name, daemon)
        found.append(verify(name, daemon, versions, objects.read, time.time(), kept))
    return found


def _keeping(keep: Callable[[str, str, Part], None], host: str, daemon: str) -> Callable[[Part], None]:
    return lambda part: keep(host, daemon, part)


def document(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """As docs/json.md says."""
    return {"schema": 1, "chains": [_chain(verdict) for verdict in verdicts]}


def _chain(verdict: Verdict) -> dict[str, object]:
    flaw = verdict.flaw
    return {
        "host": verdict.host,
        "daemon": verdict.daemon,
        "is_whole": flaw is None,
        "first_bad_record": None if flaw is None else flaw.record,
        "records": verdict.records,
        "batches": verdict.batches,
        "anchors": verdict.anchors,
        "last_record": verdict.head.seq,
        "last_hash": verdict.head.hash.decode(),
        "findings": [
            {"is_flaw": each.is_flaw, "record": each.record, "key": each.key, "why": each.why}
            for each in verdict.findings
        ],
    }


def _screen(verdict: Verdict) -> str:
    head, flaw = verdict.head, verdict.flaw
    lines = [
        f"{printable(verdict.host)}/{printable(verdict.daemon)}",
        f"  records: {verdict.records}, batches: {verdict.batches}, anchors: {verdict.anchors}",
        f"  last record: {head.seq}, hash {head.hash.decode()}",
        "  whole and unaltered" if flaw is None else f"  FIRST BAD RECORD: {flaw.record}",
    ]
    shown = sorted(verdict.findings, key=lambda each: (not each.is_flaw, each.record))
    for each in shown[:_FEW]:
        what = f"record {each.record}: " if each.is_flaw else "note: "
        lines.append(fitted(f"  {what}{printable(f'{each.key} {each.why}')}", sys.stdout, indent="    "))
    if len(shown) > _FEW:
        lines.append(f"  and {len(shown) - _FEW} more: --json has all")
    return "\n".join(lines)


COMMANDS = (
    Command(
        name="audit-restore",
        summary="verify the audit trail in S3, and restore it from there alone",
        description="""\
Reads every version of every object below the prefix, so that what was written over or deleted counts all
the same, puts the batches in order, walks along the chain of hashes, and compares it with the anchors. The
first record that does not fit is named.

A directory with a copy of the bucket (aws s3 sync) is verified the same way, by the manifests and anchors
that came with it; it has one version of each object, so that what was put over another shows as altered.

With --to the audit files are written as the host had them, byte by byte. Nothing of this host is asked: it
runs wherever somebody may read the bucket.""",
        examples="""\
secretsctl audit-restore s3://example-audit-trail/secretsd/
secretsctl audit-restore s3://example-audit-trail/secretsd/ --to ./trail""",
        codes={
            0: "all chains are whole and unaltered",
            65: "a record is altered, missing or forged, or nothing is there",
            69: "S3 does not answer",
            74: "the files cannot be written",
            77: "you may not read the bucket",
        },
        arguments=_arguments,
        run=_audit_restore,
        asks="nobody",
    ),
)
