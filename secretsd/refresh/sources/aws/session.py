"""Sessions of the AWS SDK that are quiet, bounded in time and quick to make after a fork."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - a connection needs it; it takes a millisecond that no worker should pay
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import boto3.session
from botocore.config import Config
from botocore.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from botocore.client import BaseClient
    from botocore.loaders import Loader

# botocore's names of the services that the daemon talks to; build-deb packs the data of these alone.
ServiceName = Literal["logs", "s3", "secretsmanager", "sqs", "ssm"]

_SDK_LOGGERS = ("botocore", "boto3", "urllib3", "s3transfer")

# What the throw-away session of `preload` may look at: nothing of the machine's.
_NOTHING_OF_THIS_MACHINE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one call may wait, in seconds; `read_s` counts from one received byte to the next."""

    connect_s: float = 2.0
    read_s: float = 4.0


DEFAULT_TIMEOUTS = Timeouts()


class _Warm:
    """The loader whose caches every later session shares; filled once, by the zygote."""

    loader: Loader | None = None


def preload(services: Collection[ServiceName]) -> None:
    """Read botocore's models and rules of `services` once: a client takes milliseconds after the fork.

    Reads no real credential or configuration, starts no thread, opens no connection.
    """
    silence_sdk_loggers()
    session = Session(session_vars=_NOTHING_OF_THIS_MACHINE)
    for service in services:
        new_client(
            session,
            service,
            region_name="us-east-1",
            endpoint_url="http://127.0.0.1:9",
            aws_access_key_id="fake-access-key-of-preload",
            aws_secret_access_key="fake-secret-key-of-preload",
        ).close()
    _Warm.loader = session.get_component("data_loader")


def new_session(timeouts: Timeouts = DEFAULT_TIMEOUTS) -> Session:
    """A session that finds credentials as AWS's tools do, with IMDSv2 as the only metadata service.

    Nothing is read or contacted yet. Its clients do not retry: that is `calls`'s.
    """
    silence_sdk_loggers()
    session = Session()
    if _Warm.loader is not None:
        session.register_component("data_loader", _Warm.loader)
    # Set on the session itself: these win over the environment and over ~/.aws/config.
    session.set_config_variable("ec2_metadata_v1_disabled", value=True)
    session.set_config_variable("metadata_service_timeout", 1)
    session.set_config_variable("metadata_service_num_attempts", 2)
    session.set_default_client_config(client_config(timeouts))
    return session


def new_client(
    session: Session,
    service: ServiceName,
    *,
    region_name: str,
    endpoint_url: str | None,
    aws_access_key_id: str | None,
    aws_secret_access_key: str | None,
    aws_session_token: str | None = None,
    config: Config | None = None,
) -> BaseClient:
    """A client of `service`; contacts nothing. Keys of None: the session's own credentials.

    Raises: whatever botocore does over a broken environment, ValueError for an unusable endpoint.
    """
    # Typed as what all services have: of some the stubs know more, of most nothing.
    make: Callable[..., BaseClient] = boto3.session.Session(botocore_session=session).client
    return make(
        service,
        region_name=region_name,
        endpoint_url=endpoint_url,
        aws_access_key_id=aws_access_key_id,
        aws_secret_access_key=aws_secret_access_key,
        aws_session_token=aws_session_token,
        config=config,
    )


def client_config(timeouts: Timeouts) -> Config:
    """One attempt, explicit timeouts, one connection."""
    return Config(
        connect_timeout=timeouts.connect_s,
        read_timeout=timeouts.read_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=1,
    )


def silence_sdk_loggers() -> None:
    """Cut the SDK's loggers off for good: at DEBUG botocore logs every secret twice.

    Whatever levels and handlers an environment or a library has set before, or sets on the root logger
    later, no record of theirs is written.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(tuple(f"{sdk}." for sdk in _SDK_LOGGERS)):
            child = logging.getLogger(name)
            child.handlers.clear()
            child.setLevel(logging.NOTSET)
            child.propagate = True
            child.disabled = True
    for name in _SDK_LOGGERS:
        logger = logging.getLogger(name)
        # The NullHandler keeps logging's handler of last resort, stderr, out of it.
        logger.handlers[:] = [logging.NullHandler()]
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
        logger.disabled = True
