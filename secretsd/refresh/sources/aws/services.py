"""The services of AWS that hold secrets, by the type of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.refresh.sources.aws.secretsmanager import SECRETS_MANAGER
from secretsd.refresh.sources.aws.ssm import PARAMETER_STORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secretsd.refresh.sources.aws.service import Service

SERVICES: Mapping[str, Service] = {"aws-secretsmanager": SECRETS_MANAGER, "aws-ssm": PARAMETER_STORE}
