"""A real OpenBao server with its data on disk: over HTTP, TLS and a Unix socket at once.

It can be sealed and unsealed, killed and started again. Secrets and what a client may do are made through the
few verbs below; `ask` is for the rest.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.canary.gate import GATE
from tests.lab.tls import Authority

BAO = Path(sys.executable).parent / "bao"
_UP_S = 30.0
# It ends with us, even if we are killed.
_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")

_CONFIGURATION = """
storage "raft" {{
  path = "{directory}/data"
  node_id = "only"
  performance_multiplier = "1"
}}
cluster_addr = "http://127.0.0.1:{cluster_port}"
api_addr = "http://127.0.0.1:{port}"
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable = true
}}
listener "tcp" {{
  address = "127.0.0.1:{tls_port}"
  cluster_address = "127.0.0.1:{tls_cluster_port}"
  tls_cert_file = "{directory}/good.pem"
  tls_key_file = "{directory}/good.pem"
}}
listener "unix" {{
  address = "{directory}/api.sock"
}}
"""


_AUDIT = """
audit "file" "trail" {{
  options = {{ file_path = "{file}" }}
}}
"""


class OpenBao:
    """One server, of one node. `prefix` goes before its command, such as nsenter into a machine's network.

    With `audit_file` it has one audit device, which writes there.
    """

    def __init__(
        self, directory: Path, prefix: Sequence[str] = (), *, audit_file: Path | None = None
    ) -> None:
        self.directory = directory
        self.port, self.tls_port, cluster_port, tls_cluster_port = _free_ports(4)
        self.token = ""
        self._prefix = prefix
        self._unseal_key = ""
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "data").mkdir(parents=True)
        self.ca_file = Authority(directory).ca_file
        configuration = _CONFIGURATION.format(
            directory=directory,
            port=self.port,
            tls_port=self.tls_port,
            cluster_port=cluster_port,
            tls_cluster_port=tls_cluster_port,
        )
        if audit_file is not None:
            configuration += _AUDIT.format(file=audit_file)
        (directory / "bao.hcl").write_text(configuration)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_address(self) -> str:
        return f"https://127.0.0.1:{self.tls_port}"

    @property
    def unix_address(self) -> str:
        return f"unix://{self.directory}/api.sock"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    # --- the server ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it and, unless it is new, leaves it sealed as it comes up."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_WITH_US, *self._prefix, BAO, "server", f"-config={self.directory}/bao.hcl"],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
            )
        self._wait_until(lambda: self.ask("GET", "sys/health")[0] in (200, 501, 503))

    def initialise(self) -> None:
        """Makes it a server with the engines kv (version 2) at secret and kv1, and AppRole. Unsealed."""
        _, made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._unseal_key, self.token = made["keys"][0], made["root_token"]
        self.unseal()
        self.enable("mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self.enable("mounts/kv1", {"type": "kv", "options": {"version": "1"}})
        self.enable("auth/approle", {"type": "approle"})
        # A new engine of version 2 refuses requests until it has set itself up.
        self._wait_until(lambda: self.ask("GET", "secret/config")[0] == 200)

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self._unseal_key})
        self._wait_until(lambda: self.ask("GET", "sys/health")[0] == 200)

    def seal(self) -> None:
        self.done("PUT", "sys/seal")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_until(self, holds: Any) -> None:
        deadline = time.monotonic() + _UP_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if holds():
                    return
            assert time.monotonic() < deadline, (self.directory / "log").read_text()[-2000:]
            time.sleep(0.05)

    # --- what is on it ---------------------------------------------------------------------------------

    def enable(self, path: str, what: object) -> None:
        self.done("POST", f"sys/{path}", what)

    def put(self, path: str, values: dict[str, object], mount: str = "secret") -> None:
        """A new version of a secret; of kv1, its only one."""
        GATE.learn(values)
        if mount == "kv1":
            self.done("POST", f"kv1/{path}", values)
        else:
            self.done("POST", f"{mount}/data/{path}", {"data": values})

    def allow(self, policy: str, *paths: str) -> None:
        """A policy that may read these paths, as the API has them."""
        text = "".join(f'path "{path}" {{ capabilities = ["read"] }}\n' for path in paths)
        self.done("PUT", f"sys/policies/acl/{policy}", {"policy": text})

    def new_token(self, *policies: str, **more: object) -> str:
        """A token that ends in an hour, unless `more` says otherwise."""
        asked = {"policies": list(policies), "ttl": "1h", "no_parent": True, **more}
        token: str = self.done("POST", "auth/token/create", asked)["auth"]["client_token"]
        return token

    def new_role(self, name: str, *policies: str, **more: object) -> tuple[str, str]:
        """The role id and a secret id of a role for AppRole, whose tokens end in 20 minutes."""
        role = f"auth/approle/role/{name}"
        self.done("POST", role, {"token_policies": list(policies), "token_ttl": "20m", **more})
        role_id = self.done("GET", f"{role}/role-id")["data"]["role_id"]
        return role_id, self.done("POST", f"{role}/secret-id")["data"]["secret_id"]

    def revoke(self, token: str) -> None:
        self.done("POST", "auth/token/revoke", {"token": token})

    def done(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """As `ask`, of what must succeed."""
        status, answer = self.ask(method, path, body)
        assert status in (200, 204), (path, status, answer)
        return answer

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a request by the root token, or by `token`; a `body` of bytes goes as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.sock = self._connected()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, f"/v1/{path}", data, {"X-Vault-Token": token or self.token})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content or b"{}")

    def _connected(self) -> socket.socket:
        """Over the Unix socket, which is the same from every network."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        connection.connect(f"{self.directory}/api.sock")
        return connection


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in free]
