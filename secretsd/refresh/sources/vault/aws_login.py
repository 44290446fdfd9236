"""What the auth method aws takes for a login: a request to STS, signed and not sent, that proves a role."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from secretsd.errors import FailureClass
from secretsd.refresh.sources.aws.identity import resolve_identity
from secretsd.refresh.sources.aws.session import new_session
from secretsd.refresh.sources.faults import METADATA_UNREACHABLE, NO_CREDENTIALS, CallFailedError

if TYPE_CHECKING:
    from secretsd.config.sources import VaultAwsLogin

_QUESTION = "Action=GetCallerIdentity&Version=2011-06-15"


def signed_question(login: VaultAwsLogin, now: float) -> dict[str, str]:
    """The body of the login: "who am I", signed by the role that AWS's own search order finds.

    hvac's own form always names the global address of STS, whatever the region it signs for; a server that
    asks a region's STS needs that region's. `now` is in seconds since the epoch. The metadata service may
    block for up to 6 s.

    Raises:
        CallFailedError: "metadata-unreachable" (transient) or "no-credentials".
    """
    url = _sts(login.region)
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    if login.server_id is not None:
        headers["X-Vault-AWS-IAM-Server-ID"] = login.server_id
    request = AWSRequest("POST", url, headers=headers, data=_QUESTION)
    request.headers["Host"] = url.removeprefix("https://").rstrip("/")
    SigV4Auth(_credentials(now), "sts", login.region).add_auth(request)
    signed = json.dumps({name: [value] for name, value in request.headers.items()})
    return {
        "role": login.role,
        "iam_http_request_method": "POST",
        "iam_request_url": _base64(url),
        "iam_request_body": _base64(_QUESTION),
        "iam_request_headers": _base64(signed),
    }


def _sts(region: str) -> str:
    """The address that is signed: the global one is in us-east-1, and it is what a server asks by default."""
    if region == "us-east-1":
        return "https://sts.amazonaws.com/"
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _credentials(now: float) -> Credentials:
    try:
        session = new_session()
        role = resolve_identity(session, now)
        if role is not None:
            return Credentials(role.access_key, role.secret_key, role.token)
        static = session.get_credentials()
        if static is not None:
            return Credentials(**static.get_frozen_credentials()._asdict())
        fault = NO_CREDENTIALS
    except CallFailedError as failed:
        # Whatever kept AWS's credentials from us, it says nothing of the server that they are for.
        is_passing = failed.fault.failure_class is FailureClass.TRANSIENT
        fault = replace(METADATA_UNREACHABLE if is_passing else NO_CREDENTIALS, detail=failed.fault.detail)
    except Exception as error:  # noqa: BLE001 - whatever a broken environment makes botocore raise
        fault = replace(NO_CREDENTIALS, detail=type(error).__name__)
    raise CallFailedError(fault)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
