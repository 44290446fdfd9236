"""setup-softhsm: a token of SoftHSM for the installed secretsd-signer. For root, who may run it again.

In this order, each step unless it is done already: a PIN from the kernel's randomness, for root alone; the
token, made as the signer's user; a configuration with a key named "demo"; the service, enabled and started.
"""

from __future__ import annotations

import argparse
import os
import pwd
import secrets
import subprocess
import sys
from pathlib import Path

from secretsd.cli.arguments import Parser
from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.config.load import load
from secretsd.errors import ConfigError, ExitCode, RefusedError, SecretsdError
from secretsd.signing.errors import KINDS, SigningError

USER = "secretsd-signer"
SERVICE = "secretsd-signer.service"
TOKEN = "secretsd"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
SOFTHSM_CONF = Path("/usr/share/secretsd/softhsm2.conf")
CREDENTIALS = Path("/etc/credstore")
STATE = Path("/var/lib/secretsd-signer")
TOKEN_DIR = STATE / "softhsm"  # as in SOFTHSM_CONF
CONFIG = Path("/etc/secretsd/conf.d/signer.toml")
_STATE_MODE = 0o711  # as StateDirectoryMode= of the unit
_CONFIGURATION = f"""\
# A token of SoftHSM, made by setup-softhsm; see secretsd.toml(5).
# After a change: systemctl reload secretsd-signer
[signer]
module = "{MODULE}"
token = "{TOKEN}"
pin = "credential:hsm-pin"

# To try it. Put your own keys beside it, say who may use them, and remove this one.
[signer.keys.demo]
type = "ecdsa-p256"
operations = ["sign", "verify", "public-key"]
allow = [{{ user = "root" }}]
"""


def main() -> int:
    Parser(
        prog="setup-softhsm",
        description="Makes a token of SoftHSM for secretsd-signer, a PIN, a configuration, and starts it.",
        epilog="What is there already is kept. See secretsd-signer(8).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    try:
        _set_up()
    except SecretsdError as error:
        print(f"setup-softhsm: {error}", file=sys.stderr)
        if error.advice:
            print(f"setup-softhsm: {error.advice}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"setup-softhsm: {error.filename}: {error.strerror}", file=sys.stderr)
        return ExitCode.IO
    return ExitCode.OK


def _set_up() -> None:
    """Raises: SecretsdError, OSError."""
    owner = _signer_user()
    is_configured = _has_signer()
    _no_token_without_its_pin()
    so_pin, has_new_so_pin = _kept_pin("hsm-so-pin")
    pin, has_new_pin = _kept_pin("hsm-pin")
    is_new_token = _as_user(owner, so_pin, pin)
    if not is_configured:
        CONFIG.write_text(_CONFIGURATION, encoding="utf-8")
        CONFIG.chmod(0o644)
    _start(is_changed=has_new_so_pin or has_new_pin or is_new_token or not is_configured)
    print(
        f"PIN: {_made(has_new_pin)}, {CREDENTIALS / 'hsm-pin'}, for root alone; keep a copy where it is safe"
    )
    print(f"token: {_made(is_new_token)}, {TOKEN_DIR}, its label is {TOKEN}")
    print(
        f"configuration: {_made(not is_configured)}, {CONFIG if not is_configured else CONFIG.parent.parent}"
    )
    print(f"service: {SERVICE} is enabled and runs; go on with: secretsctl keys generate demo")


def _made(is_new: object) -> str:
    return "made" if is_new else "was there"


def _signer_user() -> pwd.struct_passwd:
    """Raises: RefusedError, ConfigError."""
    if os.geteuid() != 0:
        raise RefusedError("only root may do this: sudo /usr/libexec/secretsd/setup-softhsm")
    if not MODULE.exists():
        raise ConfigError([f"there is no {MODULE}: apt install softhsm2"])
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        raise ConfigError([f"the user {USER} does not exist: run systemd-sysusers"]) from None


def _has_signer() -> bool:
    """Whether there is a [signer] already. Raises: ConfigError, also where it is for another token."""
    signer = load(INSTALLED_CONFIG).signer
    if signer is not None and (signer.module, signer.token) != (MODULE, TOKEN):
        raise ConfigError(
            [
                f"[signer] is there already, for another token than {MODULE} with the label {TOKEN}:"
                " nothing was done; remove it to have one of SoftHSM set up"
            ]
        )
    return signer is not None


def _no_token_without_its_pin() -> None:
    """A new PIN opens no old token. Raises: ConfigError."""
    if TOKEN_DIR.is_dir() and any(TOKEN_DIR.iterdir()) and not (CREDENTIALS / "hsm-pin").exists():
        raise ConfigError(
            [
                f"there is a token in {TOKEN_DIR}, but {CREDENTIALS / 'hsm-pin'}, which opens it, is gone:"
                " put it there again, or move the token away to begin with a new one"
            ]
        )


def _kept_pin(name: str) -> tuple[str, bool]:
    """The PIN in that file, and whether it was made now. Whole or not there at all, also after a crash."""
    path, draft = CREDENTIALS / name, CREDENTIALS / f".{name}.new"
    if path.exists():
        return path.read_text(encoding="utf-8").strip(), False
    CREDENTIALS.mkdir(mode=0o700, exist_ok=True)
    draft.unlink(missing_ok=True)
    pin = secrets.token_hex(16)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
    ) as file:
        file.write(f"{pin}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return pin, True


def _as_user(owner: pwd.struct_passwd, so_pin: str, pin: str) -> bool:
    """Makes the token in a child that is the signer's user: root touches nothing below its directory.

    Returns whether there was none. Raises: SigningError.
    """
    if not STATE.exists():
        STATE.mkdir(mode=_STATE_MODE)
        os.chown(STATE, owner.pw_uid, owner.pw_gid)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, _in_child(owner, so_pin, pin).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        code, _, sentence = pipe.read().partition(" ")
    os.waitpid(child, 0)
    if code not in ("made", "kept"):
        raise SigningError(code if code in KINDS else "bug", sentence or "the child ended without an answer")
    return code == "made"


def _in_child(owner: pwd.struct_passwd, so_pin: str, pin: str) -> str:
    """ "made", "kept", or a code and a sentence."""
    try:
        os.setgroups([])
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)
        os.umask(0o077)
        os.environ["SOFTHSM2_CONF"] = str(SOFTHSM_CONF)
        TOKEN_DIR.mkdir(mode=0o700, exist_ok=True)
        # Not before the fork: a PKCS#11 library that is loaded then is undefined in the child.
        from secretsd.signing.pkcs11.initialise import initialise

        return "made" if initialise(str(MODULE), TOKEN, so_pin, pin) else "kept"
    except SigningError as error:
        return f"{error.code} {error.sentence}"
    except OSError as error:
        return f"token-refused the token cannot be made in {TOKEN_DIR}: {os.strerror(error.errno or 0)}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, the child must not go on as its parent
        return f"bug {type(error).__name__}"


def _start(*, is_changed: bool) -> None:
    """What was made is read at a start only. Raises: ConfigError."""
    _systemctl("daemon-reload")
    _systemctl("enable", "--quiet", SERVICE)
    _systemctl("restart" if is_changed else "start", SERVICE)


def _systemctl(*arguments: str) -> None:
    if subprocess.run(["/usr/bin/systemctl", *arguments], check=False).returncode != 0:
        raise ConfigError([f"systemctl {' '.join(arguments)} failed: journalctl -u {SERVICE} -n 50"])


if __name__ == "__main__":
    sys.exit(main())
