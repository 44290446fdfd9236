"""The command that reads the audit trails: log. It asks no daemon."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secretsd.cli import asking, audit_restore
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command, add_color
from secretsd.cli.screens import trail as screens
from secretsd.cli.text import printable
from secretsd.errors import ExitCode, LocalIOError, RefusedError, UsageError
from secretsd.timespan import parse_timespan

if TYPE_CHECKING:
    from secretsd.audit.archive import Walked
    from secretsd.audit.chain import Flaw, Head
    from secretsd.audit.query import Query
    from secretsd.audit.reading import Entry

DIRECTORIES = (Path("/var/lib/secretsd/audit"), Path("/var/lib/secretsd-signer/audit"))
_ANCHOR = re.compile(r"(?:([a-z]+):)?(0|[1-9][0-9]{0,17}):([0-9a-f]{64})")
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


# --- where ---------------------------------------------------------------------------------------------


def places(options: argparse.Namespace) -> list[Path]:
    """What --from names, or the trails' directories on this host.

    Raises: RefusedError, LocalIOError, ConfigError.
    """
    config: Path | None = options.config
    if options.sources:
        return list(options.sources)
    found = [directory for directory in _directories(config) if _is_there(directory)]
    if not found:
        where = " or ".join(map(str, _directories(config)))
        advice = "has secretsd run on this host? For one in the foreground: --config FILE"
        raise LocalIOError(f"no audit trail in {where}", advice=advice)
    return found


def _directories(config: Path | None) -> tuple[Path, ...]:
    if config is None:
        return DIRECTORIES
    from secretsd.config.load import load

    loaded = load(config)
    own = loaded.daemon.state_dir / "audit"
    return (own,) if loaded.signer is None else (own, loaded.signer.state_dir / "audit")


def _is_there(directory: Path) -> bool:
    try:
        os.stat(directory)
    except FileNotFoundError:
        return False
    except PermissionError:
        pass
    if not os.access(directory, os.R_OK | os.X_OK):
        raise RefusedError(
            f"{directory} may not be read", advice="only root and members of the group secretsd-audit may"
        )
    return True


# --- log -----------------------------------------------------------------------------------------------


def _log_arguments(parser: Parser) -> None:
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="only what concerns this bundle")
    _add_filter(parser, "--secret", "ID", "only this secret, by its id at the source")
    _add_filter(parser, "--key", "NAME", "only this signing key")
    _add_filter(parser, "--actor", "WHO", "only this uid, user or unit, or: daemon")
    _add_filter(parser, "--action", "A", "only this action, for example publish or sign", type=action)
    _add_filter(parser, "--result", None, "only what ended so", choices=["ok", "refused", "failed"])
    parser.add_argument(
        "--since", metavar="T", type=moment, help="2h, 7d, 2026-03-01, 2026-03-01T12:00; in UTC"
    )
    parser.add_argument("--until", metavar="T", type=moment, help="as --since")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--follow", action="store_true", help="wait for what comes; without --since that alone")
    what.add_argument(
        "--verify", nargs="*", metavar="PATH",
        help="check the chains instead: of this host, these files and directories, or s3://BUCKET/PREFIX",
    )  # fmt: skip
    parser.add_argument(
        "--anchor", action="append", type=anchor, metavar="[DAEMON:]SEQ:HASH", default=[],
        help="with --verify: a record's hash that was noted elsewhere; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="for programs: a JSON object a line, as in the files"
    )
    add_color(parser)
    add_places(parser)


def _add_filter(parser: Parser, name: str, metavar: str | None, meaning: str, **more: Any) -> None:
    parser.add_argument(name, action="append", metavar=metavar, default=[], help=meaning, **more)


def add_places(parser: Parser) -> None:
    parser.add_argument(
        "--from", dest="sources", type=Path, action="append", metavar="PATH", default=[],
        help="a file or directory of a trail instead of this host's own, for example one from S3",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="take the places of the trails from this configuration, for a daemon in the foreground",
    )  # fmt: skip


def action(text: str) -> str:
    """For argparse's `type`."""
    from secretsd.audit.actions import EVERY

    if text in EVERY:
        return text
    import difflib

    close = difflib.get_close_matches(text, EVERY, n=3)
    meant = f"perhaps {' or '.join(close)}" if close else f"there are: {', '.join(sorted(EVERY))}"
    raise argparse.ArgumentTypeError(f"no record has the action '{printable(text)}'; {meant}")


def moment(text: str) -> str:
    """For argparse's `type`: a time as records have it, from a date, a time, or a span before now."""
    try:
        span_s = parse_timespan(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            why = "must be a span before now (2h, 7d) or a time (2026-03-01, 2026-03-01T12:00, in UTC)"
            raise argparse.ArgumentTypeError(why) from None
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    else:
        found = datetime.now(UTC) - timedelta(seconds=span_s)
    return found.astimezone(UTC).strftime(STAMP)


def anchor(text: str) -> tuple[str | None, Head]:
    """For argparse's `type`."""
    from secretsd.audit.chain import Head

    found = _ANCHOR.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("must be SEQ:HASH or DAEMON:SEQ:HASH, as --verify prints it")
    return found[1], Head(int(found[2]), found[3].encode())


def _log(options: argparse.Namespace) -> int:
    query = _query(options)
    if options.verify is not None:
        if query != type(query)():
            raise UsageError("--verify looks at all records", advice="leave the filters out")
        return _verify(options)
    if options.anchor:
        raise UsageError("--anchor goes with --verify")
    from secretsd.audit import reading

    where, found = places(options), _Printed(options)
    try:
        for entry in reading.follow(where, query) if options.follow else reading.entries(where, query):
            found.print(entry)
    except BrokenPipeError:
        raise  # `| head` has seen enough
    except OSError as error:
        raise unreadable(error) from None
    except KeyboardInterrupt:
        pass  # how --follow ends
    found.end()
    return ExitCode.OK


class _Printed:
    """The records as they are printed; an answer without any says so, to people."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._view = asking.view(options)
        self._is_json: bool = options.json
        self._is_empty = not (options.json or options.follow)

    def print(self, entry: Entry | None) -> None:
        if entry is None:
            sys.stdout.flush()
            return
        self._is_empty = False
        if self._is_json:
            asking.print_line({"host": entry.host, "daemon": entry.daemon, **entry.record})
        else:
            print(screens.line(entry.record, self._view))

    def end(self) -> None:
        if self._is_empty:
            print("no record fits: secretsctl log without a filter shows all that there are", file=sys.stderr)


def _query(options: argparse.Namespace) -> Query:
    from secretsd.audit.query import Query

    times = {
        name: getattr(options, name) for name in ("since", "until") if getattr(options, name) is not None
    }
    if options.follow and options.since is None:
        times["since"] = datetime.now(UTC).strftime(STAMP)
    query = Query(
        bundles=frozenset([options.bundle] if options.bundle is not None else []),
        secrets=frozenset(options.secret),
        keys=frozenset(options.key),
        actors=frozenset(map(_uid_or_unit, options.actor)),
        actions=frozenset(options.action),
        results=frozenset(options.result),
        **times,
    )
    if query.since >= query.until:
        raise UsageError(
            "--since is not before --until: there is no such time", advice="a span is before now"
        )
    return query


def _uid_or_unit(text: str) -> str:
    import pwd

    try:
        return str(pwd.getpwnam(text).pw_uid) if text != "daemon" else text
    except KeyError:
        return text


def unreadable(error: OSError) -> LocalIOError | RefusedError:
    what = f"{error.filename or 'a file of the trail'} cannot be read: {os.strerror(error.errno or 0)}"
    if isinstance(error, PermissionError):
        return RefusedError(what, advice="only root and members of the group secretsd-audit may")
    return LocalIOError(what, advice="name files and directories of a trail, or none for this host's own")


# --- verify --------------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from secretsd.audit import archive
    from secretsd.shipping.proof.download import is_download

    where: Sequence[Path] = [*map(Path, options.verify), *options.sources] or places(options)
    if any("://" in each for each in options.verify) or any(map(is_download, where)):
        return _verify_shipped(options)
    try:
        with ExitStack() as stack:
            chains = [archive.walk(pieces) for pieces in archive.opened(where, stack)]
            if not chains:
                raise UsageError("there is no file of a trail in " + ", ".join(map(str, where)))
            documents = [_chain(walked, _flaw(walked, options.anchor, len(chains))) for walked in chains]
    except OSError as error:
        raise unreadable(error) from None
    document = {"schema": asking.SCHEMA, "chains": documents}
    if options.json:
        asking.print_json(document)
    else:
        print(screens.verification(document, asking.view(options)))
    return ExitCode.DATA if any(each["flaw"] for each in documents) else ExitCode.OK


def _verify_shipped(options: argparse.Namespace) -> int:
    """As audit-restore, which compares with the anchors that are there."""
    places = [*options.verify, *map(str, options.sources)]
    if len(places) > 1 or options.anchor:
        raise UsageError(
            "of what was shipped to S3 one place is verified at a time, and against its own anchors",
            advice="for other anchors: secretsctl audit-restore --to DIR, then log --verify DIR --anchor ...",
        )
    return audit_restore.verified(audit_restore.objects_of(places[0]), is_json=options.json)


def _flaw(walked: Walked, anchors: Iterable[tuple[str | None, Head]], chains: int) -> Flaw | None:
    """The first flaw of the chain, or what does not agree with an anchor."""
    from secretsd.audit import archive

    agreed = 0
    for daemon, head in sorted(anchors, key=lambda each: each[1].seq):
        if daemon is None and chains > 1:
            raise UsageError("there are several chains: give --anchor as DAEMON:SEQ:HASH")
        if walked.flaw is None and daemon in (None, walked.daemon):
            if (flaw := archive.against(walked, head, agreed)) is not None:
                return flaw
            agreed = head.seq
    return walked.flaw


def _chain(walked: Walked, flaw: Flaw | None) -> dict[str, Any]:
    return {
        "daemon": walked.daemon,
        "directory": str(walked.pieces[0].path.parent),
        "files": [piece.path.name for piece in walked.pieces],
        "records": walked.records,
        "first": walked.head.seq - walked.records + 1,
        "last": walked.head.seq,
        "anchor": f"{walked.daemon}:{walked.head.seq}:{walked.head.hash.decode()}",
        "torn": walked.torn,
        "unfinished": walked.is_unfinished,
        "flaw": None
        if flaw is None
        else {
            "file": None if walked.flawed is None else str(walked.flawed),
            "line": flaw.line or None,
            "record": flaw.record,
            "why": flaw.why,
        },
    }


COMMANDS = (
    Command(
        name="log",
        summary="who read, changed and used what: the audit trails, and whether they are whole",
        description="""\
Prints the audit trails of secretsd and secretsd-signer together, in the order of time. All filters that
are given must fit, and of one that is given again any. What concerns a bundle are also the reads of the
secrets that it was made of. It reads the files itself, full ones too, and needs no daemon, only the right
to read: root and members of the group secretsd-audit. A line that ends with `...` says what is about to be
done; the next one with the same words says how it went. Times are in UTC.

With --verify the chains of hashes are walked along instead, over all files of each: the first record that
does not fit is named, with its file and line. That the end was cut off, or that all was computed anew,
shows only against a hash that was noted elsewhere: --anchor. Of s3://BUCKET/PREFIX, and of a copy of it in
a directory, all batches and anchors are looked at, as audit-restore does. What each record means:
/usr/share/doc/secretsd/audit.md.""",
        examples="""\
secretsctl log trading-bot --since 2h
secretsctl log --key hot-wallet --result refused --follow
secretsctl log --action hold --action rollback --actor alice --json
secretsctl log --verify
secretsctl log --from ./trail --secret prod/exchange --since 2021-01-01
secretsctl log --verify s3://example-audit-trail/secretsd/""",
        codes={
            0: "done; with --verify: all fits",
            65: "--verify has found a flaw, or an anchor does not agree",
            74: "there is no trail, or it cannot be read",
            77: "you may not read it: only root and the group secretsd-audit may",
        },
        arguments=_log_arguments,
        run=_log,
        asks="nobody",
    ),
)
