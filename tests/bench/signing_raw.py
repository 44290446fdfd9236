"""The library alone: python -m tests.bench.signing_raw CONFIG KEY THREADS SECONDS

A process of its own, with the module loaded. Prints one line of JSON, as load.c does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pkcs11 import Mechanism

from secretsd.signing.house import configured
from secretsd.signing.pkcs11 import objects
from secretsd.signing.pkcs11.token import Token
from tests.bench.figures import percentile
from tests.bench.signing_keys import KINDS

_WARMUP_SHARE = 0.2


def main(config_path: Path, name: str, threads: int, seconds: float) -> None:
    config = configured(config_path).signer
    token = Token(config)
    token.open()
    kind = next(each for each in KINDS if each.name == name)
    mechanism, data = Mechanism(kind.mechanism), kind.token_data
    spent_ns: list[int] = []
    until = time.monotonic() + seconds * (1 + _WARMUP_SHARE)
    begin_ns = time.monotonic_ns() + int(seconds * _WARMUP_SHARE * 1e9)

    def sign(key: Any) -> None:
        mine = []
        while time.monotonic() < until:
            start = time.monotonic_ns()
            key.sign(data, mechanism=mechanism)
            end = time.monotonic_ns()
            if start >= begin_ns:
                mine.append(end - start)
        spent_ns.extend(mine)

    keys = []
    sessions = []
    for _ in range(threads):
        session = token.session()
        sessions.append(session)
        keys.append(objects.find(session, name, config.keys[name], 1, objects.object_class(kind.type)))
    working = [threading.Thread(target=sign, args=(key,)) for key in keys]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    us = {f"p{each}_us": percentile(spent_ns, each) / 1e3 for each in (50, 99)}
    counts = {"done": len(spent_ns), "refused": 0, "failed": 0, "seconds": seconds}
    print(json.dumps({**counts, **us, "worst_us": max(spent_ns) / 1e3}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
