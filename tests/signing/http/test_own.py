"""The paths of secretsctl: what the administration is asked, and how its answers go out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.signing.http.serving import Served

B64, HEX = "aGVsbG8=", "68656c6c6f"
ASKED: list[tuple[str, str, object, int, str, list[Any]]] = [
    ("GET", "keys", None, 200, "keys", []),
    ("GET", "approvals", None, 200, "approvals", []),
    ("GET", "report", None, 200, "report", []),
    ("POST", "unlock", {}, 200, "unlock", []),
    ("POST", "keys/wallet/generate", {}, 200, "generate", ["wallet"]),
    ("POST", "keys/wallet/import", {"material": B64}, 200, "import_key", ["wallet", HEX]),
    ("POST", "keys/wallet/retire", {"version": 2}, 200, "retire", ["wallet", 2]),
    ("POST", "keys/wallet/wrap", {}, 200, "wrap", ["wallet", 0]),
    ("POST", "keys/wallet/wrap", {"version": 3}, 200, "wrap", ["wallet", 3]),
    ("POST", "keys/wallet/unwrap", {"blob": B64}, 202, "unwrap", ["wallet", HEX, ""]),
    ("POST", "keys/wallet/unwrap", {"blob": B64, "request_id": "r1"}, 200, "unwrap", ["wallet", HEX, "r1"]),
    ("POST", "approvals/r1", {}, 200, "approve", ["r1"]),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "verb", "arguments"), ASKED)
def test_what_the_administration_is_asked(
    signer: Served, method: str, path: str, body: object, status: int, verb: str, arguments: list[Any]
) -> None:
    found, content, _ = signer.ask(method, f"/v1/secretsd/{path}", body)
    assert (found, content["data"]) == (status, {"verb": verb, "uid": 1000, "arguments": arguments})


REFUSED = [
    ("POST", "keys/forbidden/generate", {}, 403),
    ("POST", "keys/wallet/import", {}, 400),
    ("POST", "keys/wallet/import", {"material": "!"}, 400),
    ("POST", "keys/wallet/retire", {}, 400),
    ("POST", "keys/wallet/unwrap", {}, 400),
    ("POST", "keys/wallet/export", {}, 404),
    ("POST", "keys", {}, 405),
    ("GET", "unlock", None, 405),
    ("GET", "keys/wallet/generate", None, 405),
    ("GET", "nothing", None, 404),
    ("GET", "", None, 404),
    ("POST", "keys/wallet/wrap/more", {}, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED)
def test_what_is_refused(signer: Served, method: str, path: str, body: object, status: int) -> None:
    found, content, headers = signer.ask(method, f"/v1/secretsd/{path}", body)
    assert found == status
    assert headers["X-Secretsd-Error"]
    assert len(content["errors"]) == 1
