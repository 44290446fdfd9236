"""How a service of the lab is spoken to: which operation a request is, what it names, and how it says no."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from tests.lab.faults import Refusal


class Dialect(Protocol):
    """What a `FaultProxy` has to know of what it stands in front of."""

    def operation(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        """The service's name of what is asked for."""
        ...

    def secret_ids(self, path: str, body: bytes) -> tuple[str, ...]:
        """The secrets that a request names."""
        ...

    def refusal(self, refusal: Refusal) -> tuple[bytes, dict[str, str]]:
        """The body of an error answer, and its headers."""
        ...


class AwsJson:
    """Services of AWS that speak JSON: Secrets Manager, the Parameter Store."""

    def operation(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        return headers.get("X-Amz-Target", f"{method} {path}").rpartition(".")[2]

    def secret_ids(self, path: str, body: bytes) -> tuple[str, ...]:
        del path
        request = as_object(body)
        for several in ("SecretIdList", "Names"):
            if several in request:
                return tuple(request[several])
        return (request["SecretId"],) if "SecretId" in request else ()

    def refusal(self, refusal: Refusal) -> tuple[bytes, dict[str, str]]:
        body = json.dumps({"__type": refusal.code, "message": refusal.message}).encode()
        return body, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "fake-request-id"}


class Vault:
    """OpenBao and HashiCorp Vault."""

    def operation(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        del headers
        return f"{method} {path.partition('?')[0]}"

    def secret_ids(self, path: str, body: bytes) -> tuple[str, ...]:
        del body
        _, found, name = path.partition("?")[0].partition("/data/")
        return (name,) if found else ()

    def refusal(self, refusal: Refusal) -> tuple[bytes, dict[str, str]]:
        errors = [refusal.message] if refusal.message else []
        return json.dumps({"errors": errors}).encode(), {"Content-Type": "application/json"}


def as_object(body: bytes) -> dict[str, Any]:
    """A JSON object, empty where `body` is none."""
    with contextlib.suppress(ValueError):
        parsed = json.loads(body)
        if isinstance(parsed, dict):
            return parsed
    return {}
