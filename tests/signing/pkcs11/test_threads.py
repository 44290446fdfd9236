"""Many threads on one module: they crash python-pkcs11's own class, and not ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

from secretsd.signing.pkcs11.token import Token
from tests.signing.dispatching import hmac_key, signer_config
from tests.signing.softhsm import LABEL, MODULE, PIN, SoftHsm

ROOT = Path(__file__).resolve().parents[3]
SECONDS = float(os.environ.get("SECRETSD_SOAK_THREADS_S", "4"))
THREADS = 8

PROGRAM = """
    import os, sys, threading, time
    sys.path.insert(0, {root!r})
    from pkcs11 import KeyType, Mechanism, _pkcs11
    from secretsd.signing.pkcs11.library import LockingLibrary

    library = {library}({module!r})
    token = library.get_token(token_label={label!r})
    holder = token.open(rw=True, user_pin=sys.stdin.readline().strip())
    label = f"mac-{{os.getpid()}}"  # a run that crashes leaves its key behind
    holder.generate_key(KeyType.GENERIC_SECRET, 256, label=label, store=True, capabilities=0x0800 | 0x2000)
    counts, errors, end = [0] * {threads}, [], time.monotonic() + {seconds}

    def sign(number):
        while time.monotonic() < end:
            try:
                session = token.open(rw=True)
                key = session.get_key(label=label)
                for _ in range(20):
                    key.sign(b"message", mechanism=Mechanism.SHA256_HMAC)
                    counts[number] += 1
                session.close()
            except Exception as error:
                errors.append(type(error).__name__)

    threads = [threading.Thread(target=sign, args=(number,)) for number in range({threads})]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(min(counts), sum(counts), len(errors), flush=True)
    os._exit(0)
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
    least, total, errors = map(int, done.stdout.split())
    assert errors == 0
    assert least > 0
    assert total > 1000 * SECONDS


def test_the_stock_class_crashes(softhsm: SoftHsm) -> None:
    """Else the class with locks is no longer needed, or this test no longer sees what it is for."""
    for _ in range(5):
        done = _run(softhsm, "_pkcs11.lib", 5.0)
        if done.returncode in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
            return
    raise AssertionError(f"the stock class did not crash in 5 runs: {done.returncode} {done.stderr}")


def test_keys_made_at_once_are_versions_one_after_another(softhsm: SoftHsm) -> None:
    """Two objects with one label would leave the key ambiguous, and so unusable."""
    token = Token(signer_config(softhsm, {"mac": hmac_key(), "other": hmac_key()}))
    token.open()
    start = threading.Barrier(THREADS)
    made: list[tuple[str, int]] = []

    def make(name: str) -> None:
        lane = token.lane()
        start.wait()
        for _ in range(4):
            made.append((name, lane.generate(name).number))

    threads = [threading.Thread(target=make, args=(("mac", "other")[each % 2],)) for each in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = range(1, 4 * THREADS // 2 + 1)
    assert sorted(made) == [(name, number) for name in ("mac", "other") for number in numbers]
    assert {name: len(found) for name, found in token.keys.items()} == {"mac": 16, "other": 16}
    token.reset()
    assert not token.problems
    token.close()
