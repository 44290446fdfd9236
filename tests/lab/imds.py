"""A fake instance metadata service, version 2, with the credentials of a role.

The rules are those of AWS's "Use the Instance Metadata Service": a token by PUT with a lifetime, 401 without
one, 403 for a forwarded request; version 1 is switched off.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import cast

from tests.lab.httpd import Handler, Httpd
from tests.lab.network import Address, LocalNetwork, Network
from tests.lab.room import IMDS_ADDRESS

ROLE = "lab-role"
_TOKEN_PATH = "/latest/api/token"
_ROLE_PATH = "/latest/meta-data/iam/security-credentials/"
_REGION_PATH = "/latest/meta-data/placement/region"
_MAX_TTL_S = 21600


class Mode(Enum):
    """How the service answers; that it is down is `stop`, not a mode."""

    UP = "up"
    SLOW = "slow"
    ERROR = "error"  # 500 to everything
    NO_ROLE = "no-role"  # an instance without an instance profile: 404


class FakeImds(Httpd):
    """Serves 169.254.169.254:80 of a lab machine's network, or a free port of this one (`local`).

    `mode`, `slow_s` and `expires_in_s` (of the credentials handed out from now on; negative: already expired)
    may change at any time. `requests` counts "token", "role", "credentials", "region", "refused".
    """

    def __init__(self, network: Network, address: Address = (IMDS_ADDRESS, 80)) -> None:
        handler = type("_BoundImdsHandler", (_ImdsHandler,), {"imds": self})
        super().__init__(network, address, cast("type[Handler]", handler))
        self.mode = Mode.UP
        self.slow_s = 5.0
        self.expires_in_s = 6 * 3600.0
        self.requests: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}
        self._generation = 1

    @classmethod
    def local(cls) -> FakeImds:
        """One on this machine's loopback; AWS_EC2_METADATA_SERVICE_ENDPOINT is its `url`."""
        return cls(LocalNetwork(), ("127.0.0.1", 0))

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def access_key_id(self) -> str:
        """The id of the key that is handed out now."""
        return f"ASIAFAKELAB{self._generation:09d}"

    def renew(self) -> None:
        """From now on the role has other credentials."""
        with self._lock:
            self._generation += 1

    def count(self, what: str) -> None:
        with self._lock:
            self.requests[what] += 1

    def new_token(self, ttl_s: int) -> str:
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._tokens[token] = time.monotonic() + ttl_s
        return token

    def knows(self, token: str | None) -> bool:
        with self._lock:
            return token is not None and self._tokens.get(token, 0.0) > time.monotonic()

    def credentials(self) -> bytes:
        now = datetime.now(UTC)
        document = {
            "Code": "Success",
            "LastUpdated": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "Type": "AWS-HMAC",
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": f"fake-secret-access-key-{self._generation:017d}",
            "Token": f"fake-session-token-{self._generation}",
            "Expiration": f"{now + timedelta(seconds=self.expires_in_s):%Y-%m-%dT%H:%M:%SZ}",
        }
        return json.dumps(document).encode()


class _ImdsHandler(Handler):
    imds: FakeImds

    def do_PUT(self) -> None:  # noqa: N802 - the base class's naming
        self.request_body()
        if self._out_of_order():
            return
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != _TOKEN_PATH:
            self._refuse(404)
        elif "X-Forwarded-For" in self.headers:
            self._refuse(403)
        elif not (ttl.isdecimal() and 1 <= int(ttl) <= _MAX_TTL_S):
            self._refuse(400)
        else:
            self.imds.count("token")
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": ttl}
            self.reply(200, self.imds.new_token(int(ttl)).encode(), lifetime)

    def do_GET(self) -> None:  # noqa: N802 - the base class's naming
        if self._out_of_order():
            return
        if not self.imds.knows(self.headers.get("X-aws-ec2-metadata-token")):
            self._refuse(401)
        elif self.path == _REGION_PATH:
            self.imds.count("region")
            self.reply(200, b"us-east-1")
        elif self.imds.mode is Mode.NO_ROLE or not self.path.startswith(_ROLE_PATH):
            self._refuse(404)
        elif self.path == _ROLE_PATH:
            self.imds.count("role")
            self.reply(200, ROLE.encode())
        elif self.path == _ROLE_PATH + ROLE:
            self.imds.count("credentials")
            self.reply(200, self.imds.credentials(), {"Content-Type": "text/plain"})
        else:
            self._refuse(404)

    def _out_of_order(self) -> bool:
        if self.imds.mode is Mode.SLOW:
            time.sleep(self.imds.slow_s)
        if self.imds.mode is Mode.ERROR:
            self._refuse(500)
            return True
        return False

    def _refuse(self, status: int) -> None:
        self.imds.count("refused")
        self.reply(status, b"")
