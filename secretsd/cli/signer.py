"""Between a command and secretsd-signer: HTTP over its Unix socket, and what its refusals mean here."""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from secretsd.cli.command import DEFAULT_SIGNER, SIGNER_VARIABLE
from secretsd.cli.spinner import spinning
from secretsd.errors import ConfigError, RefusedError, SecretsdError, TryAgainError, UsageError
from secretsd.signing.errors import KINDS, SigningError

_PATIENCE_S = 15.0
_TOKEN_S = 75.0  # a token makes an RSA key in its own time; the signer gives up after 60 s
_QUEUE_S = 5.0
_START = "systemctl enable --now secretsd-signer; where there is no token yet, see secretsd-signer(8)"
# Its sockets are there, so what is wrong is the service.
_LOOK = "systemctl status secretsd-signer; journalctl -u secretsd-signer -n 50"

Document = dict[str, Any]


def get(options: argparse.Namespace, path: str) -> Document:
    """What the signer has at `path`. Raises: SecretsdError."""
    return _ask(socket_path(options), "GET", path, None, _PATIENCE_S)


def use(options: argparse.Namespace, path: str, body: Mapping[str, object]) -> Document:
    """Has a key used. Raises: SecretsdError."""
    return _ask(socket_path(options), "POST", path, body, _PATIENCE_S)


def change(options: argparse.Namespace, path: str, body: Mapping[str, object], what: str) -> Document:
    """Has something done that may take the token a minute; `what` is for who waits. Raises: SecretsdError."""
    with spinning(what):
        return _ask(socket_path(options), "POST", path, body, _TOKEN_S)


def configured_key(options: argparse.Namespace, name: str) -> Document | None:
    """What the signer tells of a key; None where there is none that this user may see."""
    keys = get(options, "/v1/secretsd/keys").get("keys") or ()
    return next((key for key in keys if key.get("name") == name), None)


def path_of(*words: str) -> str:
    """Below /v1. Raises: UsageError where a word cannot be part of a path."""
    for word in words:
        if not word or not all(c.isascii() and (c.isalnum() or c in "._-") for c in word):
            raise UsageError(
                "that is no name of a key, nor of a request", advice="see secretsctl keys list for the keys"
            )
    return "/v1/" + "/".join(words)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def decoded(text: str) -> bytes:
    """Of base64 or base64url, with or without its padding. Raises: ValueError."""
    plain = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise ValueError from None


def socket_path(options: argparse.Namespace) -> str:
    """Raises: SecretsdError."""
    if options.socket is not None:
        raise UsageError("--socket is that of secretsd", advice="name the signer's with --signer-socket")
    if options.config is not None and options.signer_socket is not None:
        raise UsageError("--signer-socket and --config exclude each other", advice="give one of them")
    if options.config is None:
        return options.signer_socket or os.environ.get(SIGNER_VARIABLE) or DEFAULT_SIGNER
    from secretsd.config.load import load  # pydantic, for who asks for it

    signer = load(options.config).signer
    if signer is None:
        raise ConfigError([f"{options.config}: there is no table [signer]: see secretsd.toml(5)"])
    return str(signer.socket)


def _ask(
    path: str, method: str, target: str, body: Mapping[str, object] | None, timeout_s: float
) -> Document:
    # Only here: it brings ssl and email with it, and other commands do without.
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection("localhost")
    try:
        connection.sock = _connected(path, timeout_s)
        data = None if body is None else json.dumps(body).encode()
        # What is too large is answered before it is read, and the answer says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, data, {"X-Secretsd-Timeout-Ms": f"{timeout_s * 1000:.0f}"})
        response = connection.getresponse()
        content, code = response.read(), response.getheader("X-Secretsd-Error")
        document = json.loads(content)
        if response.status < 300:
            return dict(document["data"])
        raise _refusal(code, str(document["errors"][0]))
    except TimeoutError:
        raise TryAgainError(f"the signer did not answer within {timeout_s:.0f} s", advice=_LOOK) from None
    except PermissionError:
        raise RefusedError(f"may not connect to {path}: check its mode and its directory's") from None
    except FileNotFoundError:
        raise TryAgainError(f"there is no signer's socket at {path}", advice=_START) from None
    except ConnectionRefusedError:
        raise TryAgainError(f"nobody listens on {path}", advice=_START) from None
    except OSError:
        raise TryAgainError(f"the signer does not answer on {path}", advice=_LOOK) from None
    except (HTTPException, ValueError, LookupError, TypeError):
        message = f"what answers on {path} is no signer, or ended before it had answered"
        raise TryAgainError(message, advice=_LOOK) from None
    finally:
        connection.close()


def _refusal(code: str | None, sentence: str) -> SecretsdError:
    """A newer signer may have words that this secretsctl does not know."""
    return SigningError(code, sentence) if code in KINDS else TryAgainError(sentence)


def _connected(path: str, timeout_s: float) -> Any:
    """As connect(2), but a queue that is full for the moment is waited for. Raises: OSError."""
    import socket

    deadline_s = time.monotonic() + _QUEUE_S
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() < deadline_s:
                time.sleep(0.02)
                continue
            connection.close()
            raise
        except OSError:
            connection.close()
            raise
        return connection
