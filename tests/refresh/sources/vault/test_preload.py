"""A zygote warms hvac only where a vault is configured, and touches nothing of the machine's for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import os, socket, sys, threading
socket.socket.connect = lambda *args: sys.exit("preload opened a connection")
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from secretsd.refresh.sources import registry
libraries = {"hvac", "requests", "urllib3", "boto3", "botocore"}
assert not libraries & set(sys.modules), "the registry alone imports nothing"
registry.preload(sys.argv[1].split(","))
assert threading.active_count() == 1, threading.enumerate()
assert not [path for path in opened if ".vault-token" in path or ".netrc" in path]
assert any(path.endswith((".py", ".pyc")) for path in opened), "the hook is blind"
print(*sorted(libraries & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("kinds", "imported"),
    [
        ("vault", "hvac requests urllib3"),
        ("aws-secretsmanager", "boto3 botocore urllib3"),
        ("file,env", ""),
    ],
)
def test_a_zygote_imports_what_is_configured_and_nothing_else(
    tmp_path: Path, kinds: str, imported: str
) -> None:
    (tmp_path / ".vault-token").write_text("fake-token")
    environment = {**os.environ, "HOME": str(tmp_path), "VAULT_TOKEN": "fake-token"}
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, kinds], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == imported
