"""Makes the key of this host's sealed copies: as a systemd credential, or as a file for the foreground.

In clear the key is in this process and in a pipe to systemd-creds, never in a command line or on a disk.
"""

from __future__ import annotations

import contextlib
import grp
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from secretsd.errors import ConfigError, LocalIOError, RefusedError, TryAgainError, UsageError
from secretsd.refresh.sealed.choice import KEY_BYTES

NAME = "secretsd-seal-key"
COUNTER = "tpm:0x1800e5d"  # an index of those that the TCG leaves to the owner
STORE = Path("/etc/credstore.encrypted")
DROP_IN = Path("/etc/systemd/system/secretsd.service.d/seal-key.conf")
_SYSTEMD_CREDS = "systemd-creds"
_TIMEOUT_S = 60.0  # a TPM is slow, and others may use it
# By its name alone: a path that is gone would keep the whole service from starting, a name is only missing.
_DROP_IN = f"""\
# Written by secretsctl seal-setup: the key of sealed copies, see secretsd(8). Where it cannot be decrypted
# any more, secretsd.service does not start (status=243/CREDENTIALS): remove this file, then
# systemctl daemon-reload.
[Service]
LoadCredentialEncrypted={NAME}
"""
COUNTER_DROP_IN = Path("/etc/systemd/system/secretsd.service.d/seal-counter.conf")
_TSS = "tss"  # the group that may open the TPM's device
# DevicePolicy=closed of the unit stays: of all devices the TPM is the one that is added.
COUNTER_DROP_IN_TEXT = f"""\
# Written by secretsctl seal-setup --counter: workers read and increment a counter in the TPM.
[Service]
SupplementaryGroups={_TSS}
PrivateDevices=no
DeviceAllow=/dev/tpmrm0 rw
"""


def make_credential(with_key: str, *, force: bool) -> None:
    """A new key, encrypted for this host and handed to secretsd.service at its next start.

    `with_key` is systemd-creds' own word: "host", "tpm2" or "host+tpm2".
    Raises: RefusedError, UsageError, ConfigError, LocalIOError, TryAgainError.
    """
    if os.geteuid() != 0:
        raise RefusedError(
            "only root may do this", advice=f"sudo secretsctl seal-setup --with-key {with_key}"
        )
    if shutil.which(_SYSTEMD_CREDS) is None:
        raise ConfigError(["there is no systemd-creds here: it comes with systemd 250"])
    if "tpm2" in with_key:
        _must_have_tpm2()
    path = STORE / NAME
    if path.exists() and not force:
        raise _is_there(path)
    with _io_errors():
        STORE.mkdir(mode=0o700, exist_ok=True)
        _encrypt(with_key, path)
        DROP_IN.parent.mkdir(mode=0o755, exist_ok=True)
        _write_durably(DROP_IN, _DROP_IN.encode(), 0o644)
    _run(["systemctl", "daemon-reload"])


def make_counter(*, force: bool) -> None:
    """A counter in the TPM that workers of secretsd.service may use from its next start on.

    Raises: RefusedError, UsageError, ConfigError, LocalIOError, TryAgainError.
    """
    if os.geteuid() != 0:
        raise RefusedError("only root may do this", advice="sudo secretsctl seal-setup --counter")
    lacking = [tool for tool in ("tpm2_nvread", "tpm2_nvincrement") if shutil.which(tool) is None]
    if lacking or not _has_group(_TSS):
        raise ConfigError(["tpm2-tools are not installed here, or their group tss: apt install tpm2-tools"])
    define_counter(force=force)
    with _io_errors():
        COUNTER_DROP_IN.parent.mkdir(mode=0o755, exist_ok=True)
        _write_durably(COUNTER_DROP_IN, COUNTER_DROP_IN_TEXT.encode(), 0o644)
    _run(["systemctl", "daemon-reload"])


def define_counter(*, force: bool) -> None:
    """Makes the TPM's index. Raises: UsageError, ConfigError, TryAgainError."""
    handle = COUNTER.partition(":")[2]
    known = _run(["tpm2_getcap", "handles-nv-index"]).decode(errors="replace").lower().split()
    if handle in known and not force:
        raise UsageError(
            f"there is a counter already: {COUNTER}; nothing was done",
            advice="--force makes a new one: copies are refused until their source has answered again",
        )
    if handle in known:
        _run(["tpm2_nvundefine", handle, "--hierarchy", "o"])
    attributes = "authread|authwrite|no_da|nt=counter"
    _run(["tpm2_nvdefine", handle, "--hierarchy", "o", "--size", "8", "--attributes", attributes])
    _run(["tpm2_nvincrement", handle, "--hierarchy", handle])  # it has no value before


def make_file(path: Path, *, force: bool) -> None:
    """A new key in a file, 0600, of who runs this. Raises: UsageError, LocalIOError."""
    if path.exists() and not force:
        raise _is_there(path)
    with _io_errors():
        _write_durably(path, secrets.token_bytes(KEY_BYTES), 0o600)


def _encrypt(with_key: str, path: Path) -> None:
    """Puts the encrypted key at `path`, after it was decrypted once: a key that only encrypts is a trap."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    key = secrets.token_bytes(KEY_BYTES)
    # To this TPM, and to no state of the machine: a new firmware or boot loader must not take the key away in
    # the middle of an outage. Nobody measures into PCR 23; with none at all, systemd 252 encrypts what it
    # cannot decrypt (tried).
    bound = ["--tpm2-pcrs=23"] if "tpm2" in with_key else []
    try:
        _run([_SYSTEMD_CREDS, "encrypt", f"--with-key={with_key}", *bound, f"--name={NAME}", "-", draft], key)
        if _run([_SYSTEMD_CREDS, "decrypt", f"--name={NAME}", draft, "-"]) != key:
            raise ConfigError(
                ["systemd-creds does not decrypt what it has just encrypted: nothing was changed"]
            )
        draft.chmod(0o600)
        _sync(draft)
        draft.rename(path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _has_group(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(grp.getgrnam(name))
    return False


def _must_have_tpm2() -> None:
    done = subprocess.run(
        [_SYSTEMD_CREDS, "has-tpm2"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        lacking = " ".join(line.strip() for line in done.stdout.splitlines() if line.strip().startswith("-"))
        raise ConfigError(
            [f"this host has no TPM2 that systemd can use (systemd-creds has-tpm2: {lacking or 'no'})"]
        )


def _run(command: list[str | Path], given: bytes = b"") -> bytes:
    """What the command writes. Raises: ConfigError, TryAgainError."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise TryAgainError(f"{command[0]} took longer than {_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        # It writes its reason, never what it was given.
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        what = f"{command[0]} {command[1]} failed"
        raise ConfigError([f"{what}: {reason[-1] if reason else f'exit code {done.returncode}'}"])
    return done.stdout


def _write_durably(path: Path, content: bytes, mode: int) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        draft.rename(path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _io_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalIOError(f"{error.filename}: {os.strerror(error.errno or 0)}") from None


def _is_there(path: Path) -> UsageError:
    return UsageError(
        f"there is a key already: {path}; nothing was done",
        advice="--force makes a new one: what the old one has sealed can then not be opened any more, and is"
        " sealed anew as soon as its source has answered",
    )
