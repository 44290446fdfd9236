"""The command that says who uses what: usage. It asks no daemon."""

from __future__ import annotations

import argparse
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secretsd.cli import asking
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command, add_color, add_json
from secretsd.cli.screens import usage as screens
from secretsd.cli.trail import STAMP, add_places, places, unreadable
from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secretsd.audit.usage import Usage, Use

_MOST_DAYS = 36_500


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "--unused", metavar="DAYS", type=days, default=0,
        help="only keys that nobody has used, and secrets that no unit has loaded, for so many days",
    )  # fmt: skip
    add_json(parser)
    add_color(parser)
    add_places(parser)


def days(text: str) -> int:
    """For argparse's `type`."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MOST_DAYS):
        raise argparse.ArgumentTypeError("must be a number of days, from 1")
    return int(text)


def _usage(options: argparse.Namespace) -> int:
    from secretsd.audit import reading
    from secretsd.audit.query import Query
    from secretsd.audit.usage import Usage

    usage, now = Usage(), datetime.now(UTC)
    configured = _expect_what_is_configured(usage, options.config or INSTALLED_CONFIG)
    try:
        # An intent, and what was refused or failed, is no use.
        for entry in reading.entries(places(options), Query(results=frozenset({"ok"}))):
            if entry is not None:
                with contextlib.suppress(*reading.DAMAGE):  # `log --verify` tells of what is none of ours
                    usage.add(entry.host, entry.daemon, entry.record)
    except OSError as error:
        raise unreadable(error) from None
    document = _document(usage, now, options.unused, configured=configured)
    if options.json:
        asking.print_json(document)
    else:
        print(screens.screen(document, asking.view(options)))
    return ExitCode.OK


def _expect_what_is_configured(usage: Usage, path: Path) -> bool:
    from secretsd.config.load import load

    try:
        config = load(path)
    except ConfigError:
        return False
    bundles = {
        name: [(secret.source, secret.id) for secret in bundle.secrets]
        for name, bundle in config.bundles.items()
    }
    usage.expect(config.signer.keys if config.signer else (), bundles)
    return True


def _document(usage: Usage, now: datetime, unused_days: int, *, configured: bool) -> dict[str, Any]:
    keys, secrets = sorted(usage.keys), sorted(usage.secrets)
    if unused_days:
        keys, secrets = usage.unused((now - timedelta(days=unused_days)).strftime(STAMP))
    return {
        "schema": asking.SCHEMA,
        "keys_since": usage.since("signer"),
        "keys_days": _days(usage.since("signer"), now),
        "secrets_since": usage.since("refresher"),
        "secrets_days": _days(usage.since("refresher"), now),
        "unknown_bundles": sorted(usage.unknown),
        "configured": configured,
        "unused_days": unused_days or None,
        "keys": [{"key": key, "uses": _uses(usage.keys[key])} for key in keys],
        "secrets": [_secret(usage, source, secret) for source, secret in secrets],
    }


def _days(since: str | None, now: datetime) -> int:
    return (now - datetime.fromisoformat(since)).days if since else 0


def _secret(usage: Usage, source: str, secret: str) -> dict[str, Any]:
    use = usage.secrets[source, secret]
    return {
        "source": source,
        "secret": secret,
        "reads": use.reads.count,
        "last_read": use.reads.last or None,
        "bundles": sorted(use.bundles),
        "units": [{**each, "has_it": use.units[each["who"]].goes_on} for each in _uses(use.units)],
        "not_running": sorted(use.not_running),
    }


def _uses(uses: Mapping[str, Use]) -> list[dict[str, Any]]:
    """Who used it last comes first."""
    ordered = sorted(uses.items(), key=lambda each: each[1].last, reverse=True)
    return [{"who": who, "count": use.count, "first": use.first, "last": use.last} for who, use in ordered]


COMMANDS = (
    Command(
        name="usage",
        summary="which unit uses which secret and key, how often, when last; and what nobody uses",
        description="""\
Counts from the audit trails of this host who has used each signing key, and which units have loaded each
secret. secretsd itself reads secrets all the time, which is no use of them. A unit has a secret from when it
loads it until it loads a generation without it, or the bundle is removed. With --unused DAYS only what
nobody has used, or had, for so long: candidates for removal. Who reads files without being told of them
leaves no record: a unit that no on_change names, and one that was started after the publish. The latter is
named (`was not running`): whether it has the secret, systemctl knows.

It knows what is on record on this host, from where each daemon's trail begins, which it says. What nobody
has ever used is listed where the configuration can be read.""",
        examples="""\
secretsctl usage
secretsctl usage --unused 90""",
        codes={
            0: "done",
            74: "there is no trail, or it cannot be read",
            77: "you may not read it: only root and the group secretsd-audit may",
        },
        arguments=_arguments,
        run=_usage,
        asks="nobody",
    ),
)
