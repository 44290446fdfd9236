"""The command that prints what has to be made in AWS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command
from secretsd.cli.paper import fitted
from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from secretsd.config.models import Config
    from secretsd.push.templates import Template

_DEFAULT_QUEUE = "secretsd"
_DEFAULT_DAYS, _MOST_DAYS = 2555, 36500  # the latter is Object Lock's


def _arguments(parser: Parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--push", action="store_true", help="what tells a host of new versions at once")
    what.add_argument("--audit", action="store_true", help="where the audit trail is shipped to")
    parser.add_argument(
        "--retention-days",
        type=_days,
        metavar="N",
        help=f"with --audit: how long the trail is locked; default: {_DEFAULT_DAYS}",
    )
    parser.add_argument(
        "--fleet",
        action="store_true",
        help="for many hosts: the topic; with --queue: the queue of one of them",
    )
    parser.add_argument(
        "--queue", metavar="NAME", type=_queue_name, help=f"the queue's name; default: {_DEFAULT_QUEUE}"
    )
    parser.add_argument(
        "--source", metavar="NAME", help="the source of type aws-secretsmanager; default: the only one"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="of every secret of the account and region, not of the configured ones",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=f"default: {INSTALLED_CONFIG}"
    )


def _days(text: str) -> int:
    """For argparse's `type`."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MOST_DAYS):
        raise argparse.ArgumentTypeError(f"must be 1 to {_MOST_DAYS}")
    return int(text)


def _queue_name(text: str) -> str:
    """For argparse's `type`."""
    if not (0 < len(text) <= 80 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()):
        raise argparse.ArgumentTypeError("a queue's name has up to 80 letters, digits, - and _")
    return text


def _aws_setup(options: argparse.Namespace) -> int:
    import json

    template = _audit(options) if options.audit else _push(options)
    print(json.dumps(template, indent=2))
    return ExitCode.OK


def _audit(options: argparse.Namespace) -> Template:
    """Raises: UsageError."""
    from secretsd.shipping import templates

    if options.fleet or options.queue or options.source or options.all:
        raise UsageError("--fleet, --queue, --source and --all go with --push")
    return templates.audit(options.retention_days or _DEFAULT_DAYS)


def _push(options: argparse.Namespace) -> Template:
    """Raises: UsageError, ConfigError."""
    from secretsd.config.load import load
    from secretsd.push import templates

    if options.retention_days:
        raise UsageError("--retention-days goes with --audit")
    config = load(options.config or INSTALLED_CONFIG)
    source = _source(config, options.source)
    ids: list[str] = [] if options.all else _ids(config, source)
    if templates.is_too_long(ids):
        ids = []
        note = (
            "note: a rule has no room for the names of all these secrets: it passes every secret's events on"
        )
        print(fitted(note, sys.stderr), file=sys.stderr)
    if not options.fleet:
        return templates.direct(ids, source=source, queue=options.queue or _DEFAULT_QUEUE)
    if options.queue is None:
        return templates.fleet_topic(ids)
    return templates.fleet_host(source=source, queue=options.queue)


def _source(config: Config, wanted: str | None) -> str:
    """Raises: UsageError."""
    from secretsd.config.sources import AwsSecretsManager

    fitting = sorted(name for name, table in config.sources.items() if isinstance(table, AwsSecretsManager))
    if wanted is not None:
        if wanted not in fitting:
            raise UsageError(f"{wanted} is no source of type aws-secretsmanager")
        return wanted
    if len(fitting) != 1:
        known = f"one of {', '.join(fitting)}" if fitting else "none is configured"
        raise UsageError(f"--source NAME has to say which source of type aws-secretsmanager: {known}")
    return fitting[0]


def _ids(config: Config, source: str) -> list[str]:
    secrets = (secret for bundle in config.bundles.values() for secret in bundle.secrets)
    return sorted({secret.id for secret in secrets if secret.source == source})


COMMANDS = (
    Command(
        name="aws-setup",
        summary="print the CloudFormation template of what secretsd needs in AWS",
        description="""\
Prints a CloudFormation template in JSON; nothing is made, neither AWS nor secretsd is asked.

With --push: a rule of EventBridge for the secrets of the configuration, the host's queue that it feeds, who
may send to it, and the policy that lets the host's role read it. The stack's output `Configuration` is what
belongs into secretsd.toml then. With --fleet the rule feeds a topic, and each host's queue, of a stack of
its own, subscribes to that.

With --audit: a bucket with Object Lock whose policy takes nothing but what a shipper puts, its key, a log
group if you name one, and the policies of hosts and of readers; once for all hosts.""",
        examples="""\
secretsctl aws-setup --push > push.json
# then: aws cloudformation deploy --stack-name secretsd-push --template-file push.json
#       --capabilities CAPABILITY_IAM --parameter-overrides HostRole=NAME-OF-THE-ROLE
secretsctl aws-setup --push --fleet > topic.json
secretsctl aws-setup --push --fleet --queue secretsd-host-1 > host-1.json
secretsctl aws-setup --audit > audit.json""",
        codes={
            0: "printed",
            64: "wrong usage, or it is not clear for which source",
            78: "the configuration has mistakes",
        },
        arguments=_arguments,
        run=_aws_setup,
        asks="nobody",
    ),
)
