"""Many threads on one module: they crash python-pkcs11's own class, and not ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.signing.softhsm import LABEL, MODULE, PIN, SoftHsm

ROOT = Path(__file__).resolve().parents[3]
SECONDS = float(os.environ.get("SECRETSD_SOAK_THREADS_S", "4"))
THREADS = 8

PROGRAM = """
    import sys, threading, time
    sys.path.insert(0, {root!r})
    from pkcs11 import KeyType, Mechanism, _pkcs11
    from secretsd.signing.pkcs11.library import LockingLibrary

    library = {library}({module!r})
    token = library.get_token(token_label={label!r})
    holder = token.open(rw=True, user_pin=sys.stdin.readline().strip())
    holder.generate_keypair(KeyType.RSA, 2048, label="key", store=False)
    holder.generate_key(KeyType.GENERIC_SECRET, 256, label="mac", store=True, capabilities=0x0800 | 0x2000)
    counts, end = [0] * {threads}, time.monotonic() + {seconds}

    def sign(number):
        session = token.open(rw=True)
        key = session.get_key(label="mac")
        while time.monotonic() < end:
            key.sign(b"message", mechanism=Mechanism.SHA256_HMAC)
            counts[number] += 1

    threads = [threading.Thread(target=sign, args=(number,)) for number in range({threads})]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(min(counts), sum(counts), flush=True)
    import os; os._exit(0)
"""


def _run(softhsm: SoftHsm, library: str, seconds: float) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(PROGRAM).format(
        root=os.fspath(ROOT),
        library=library,
        module=os.fspath(MODULE),
        label=LABEL,
        threads=THREADS,
        seconds=seconds,
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        input=f"{PIN}\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )


def test_eight_threads_sign_on_the_class_with_locks(softhsm: SoftHsm) -> None:
    done = _run(softhsm, "LockingLibrary", SECONDS)
    assert done.returncode == 0, done.stderr
    least, total = map(int, done.stdout.split())
    assert least > 0
    assert total > 1000 * SECONDS


def test_the_stock_class_crashes(softhsm: SoftHsm) -> None:
    """Else the class with locks is no longer needed, or this test no longer sees what it is for."""
    for _ in range(5):
        done = _run(softhsm, "_pkcs11.lib", 5.0)
        if done.returncode in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
            return
    raise AssertionError(f"the stock class did not crash in 5 runs: {done.returncode} {done.stderr}")
