"""Starts a signer and races it with process numbers; for signing_pid_races, in a PID namespace of its own.

Prints as JSON how many races there were and what they brought, once the service itself has got a signature.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path

from secretsd.signing.errors import KINDS
from tests.bench import signing_load
from tests.bench.signing_bed import Running
from tests.bench.signing_keys import HMAC
from tests.lab.daemons import DaemonProcess
from tests.signing.pid_reuse import NOBODY, VICTIM, child

_WORDS = {kind.number: code for code, kind in KINDS.items()}
_SIGNATURE = "signature"
_UP_S = 20.0


class Asker:
    """One socket's connection and request, as the attacker makes them."""

    def __init__(self, signer: Running, *, is_native: bool) -> None:
        self._is_native = is_native
        self._path = signer.native if is_native else signer.http
        self._request = (
            signing_load.native_request(HMAC, HMAC.name)
            if is_native
            else signing_load.http(signer.http, HMAC, "any").request
        )

    def connect(self) -> socket.socket:
        kind = socket.SOCK_SEQPACKET if self._is_native else socket.SOCK_STREAM
        client = socket.socket(socket.AF_UNIX, kind)
        client.settimeout(10)
        client.connect(os.fspath(self._path))
        return client

    def ask(self, client: socket.socket) -> str:
        """What came of it, in a word."""
        try:
            client.send(self._request)
            answer = client.recv(70_000)
        except ConnectionError:
            return "closed"
        if not answer:
            return "closed"
        if self._is_native:
            return _WORDS[answer[1]] if answer[1] else _SIGNATURE
        return _SIGNATURE if answer.startswith(b"HTTP/1.1 200") else f"HTTP {answer[9:12].decode()}"


class Attack:
    """A process that connects and ends, and its child, which has the connection and waits for its chance."""

    def __init__(self, asker: Asker, *, is_known: bool) -> None:
        """Blocks until the process has ended; its number is free then. `is_known`: it has asked before."""
        self._go_read, self._go = os.pipe()
        self._result, self._result_write = os.pipe()
        self.pid = child(uid=NOBODY)
        if not self.pid:
            self._attack(asker, is_known=is_known)
        os.waitpid(self.pid, 0)

    def _attack(self, asker: Asker, *, is_known: bool) -> None:
        client = asker.connect()
        if is_known and asker.ask(client) == _SIGNATURE:
            os.write(self._result_write, _SIGNATURE.encode())
            os._exit(0)
        if os.fork() == 0:
            os.read(self._go_read, 1)
            os.write(self._result_write, asker.ask(client).encode())
        os._exit(0)

    def result(self) -> str:
        """Lets the child ask."""
        os.write(self._go, b"x")
        word = os.read(self._result, 100).decode()
        for descriptor in (self._go_read, self._go, self._result, self._result_write):
            os.close(descriptor)
        return word


def race(signer: Running, asker: Asker, group: Path, *, is_known: bool) -> str | None:
    """What the attacker gets while its number is the service's; None where it did not become that."""
    if not is_known:
        signer.process.send_signal(signal.SIGSTOP)
    attack = Attack(asker, is_known=is_known)
    victim = _service(group, attack.pid)
    if not is_known:
        signer.process.send_signal(signal.SIGCONT)
    word = attack.result()
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    _reap(signer.process.pid)
    return word if victim == attack.pid else None


def _service(group: Path, pid: int) -> int:
    """A process of the service, with this number if it is free; in its group when this returns."""
    ready, tell = os.pipe()
    victim = child(group, VICTIM, pid)
    if not victim:
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    return victim


def _reap(signer_pid: int) -> None:
    """The attackers' children, which are ours as the namespace's init, and never the signer."""
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if ended.si_pid == signer_pid:
            raise SystemExit("the signer has ended")
        os.waitpid(ended.si_pid, 0)


def permitted(asker: Asker, group: Path) -> bool:
    """Whether a process of the service gets a signature, within the time that the token needs to be there."""
    until = time.monotonic() + _UP_S
    while time.monotonic() < until:
        told, tell = os.pipe()
        pid = child(group, VICTIM)
        if not pid:
            os.write(tell, asker.ask(asker.connect()).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        if os.read(told, 100).decode() == _SIGNATURE:
            return True
    return False


def main(config: Path, group: Path, races: int, launcher: list[str]) -> None:
    with (config.parent / "log").open("wb") as log:
        process = DaemonProcess("secretsd.signing", config, launcher=launcher, stdout=log, stderr=log)
        signer = Running(config.parent, process)
    signer.wait()
    askers = [Asker(signer, is_native=each) for each in (True, False)]
    if not all(permitted(asker, group) for asker in askers):
        raise SystemExit("the service itself is refused: nothing is shown by the others")
    words: Counter[str] = Counter()
    for number in range(races):
        word = race(signer, askers[number % 2], group, is_known=number % 4 < 2)
        if word is not None:
            words[word] += 1
    signatures = words.pop(_SIGNATURE, 0)
    told = {"races": words.total() + signatures, "signatures": signatures, "refused": words}
    print(json.dumps(told), flush=True)
    os._exit(0)  # as the namespace's init it takes all others with it


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
