"""The command that prints what has to be made in AWS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command
from secretsd.cli.paper import fitted
from secretsd.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from secretsd.config.models import Config

_DEFAULT_CONFIG = Path("/etc/secretsd/secretsd.toml")
_DEFAULT_QUEUE = "secretsd"


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "--push", action="store_true", required=True, help="what tells a host of new versions at once"
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
        "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=f"default: {_DEFAULT_CONFIG}"
    )


def _queue_name(text: str) -> str:
    """For argparse's `type`."""
    if not (0 < len(text) <= 80 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()):
        raise argparse.ArgumentTypeError("a queue's name has up to 80 letters, digits, - and _")
    return text


def _aws_setup(options: argparse.Namespace) -> int:
    import json

    from secretsd.config.load import load
    from secretsd.push import templates

    config = load(options.config or _DEFAULT_CONFIG)
    source = _source(config, options.source)
    ids: list[str] = [] if options.all else _ids(config, source)
    if templates.is_too_long(ids):
        ids = []
        note = (
            "note: a rule has no room for the names of all these secrets: it passes every secret's events on"
        )
        print(fitted(note, sys.stderr), file=sys.stderr)
    if not options.fleet:
        template = templates.direct(ids, source=source, queue=options.queue or _DEFAULT_QUEUE)
    elif options.queue is None:
        template = templates.fleet_topic(ids)
    else:
        template = templates.fleet_host(source=source, queue=options.queue)
    print(json.dumps(template, indent=2))
    return ExitCode.OK


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
its own, subscribes to that.""",
        examples="""\
secretsctl aws-setup --push > push.json
# then: aws cloudformation deploy --stack-name secretsd-push --template-file push.json
#       --capabilities CAPABILITY_IAM --parameter-overrides HostRole=NAME-OF-THE-ROLE
secretsctl aws-setup --push --fleet > topic.json
secretsctl aws-setup --push --fleet --queue secretsd-host-1 > host-1.json""",
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
