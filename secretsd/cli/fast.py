"""All of `secretsctl wait`: it stands before every start of a bot.

Nothing but `_socket`, `os`, `sys` and `time` is imported here, which keeps it under 30 ms on Debian's Python.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from secretsd.timespan import parse_timespan

DEFAULT_SOCKET = "/run/secretsd/control.sock"
SOCKET_VARIABLE = "SECRETSD_SOCKET"

DEFAULT_TIMEOUT = "30s"
_OPTIONS_WITH_VALUE = ("--timeout", "--max-age", "--socket")
_CONNECT_PAUSE_S = 0.05
_ANSWER_GRACE_S = 5.0  # the daemon keeps the time; this is for a daemon that does not answer at all
_MAX_ANSWER_BYTES = 65_536
_LONGEST_S = 24 * 3600.0  # as in the daemon
_CLOCK_SLACK_S = 300.0  # as of sealed copies, whose time is of another boot's clock
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
_LONGEST_NAME = 64


def wait(
    bundle: str,
    *,
    timeout: str = DEFAULT_TIMEOUT,
    max_age: str | None = None,
    allow_stale: bool = False,
    socket: str | None = None,
) -> int:
    """Returns the exit code, once the bundle is published or `timeout` is over.

    `timeout` and `max_age` are time spans. Where the daemon cannot be reached, what is published already
    is good enough if its age is: a bot must be able to start while secretsd restarts. Where the age is not
    known or too high, the daemon is asked until `timeout`; then `allow_stale` decides.
    """
    if not _is_name(bundle):
        return said(os.EX_USAGE, "that is no bundle's name: a to z, 0 to 9, '.', '_' and '-'")
    path = socket or os.environ.get(SOCKET_VARIABLE, DEFAULT_SOCKET)
    if sys.stderr is None or not sys.stderr.isatty():
        return said(*_wait(bundle, path, timeout, max_age, allow_stale=allow_stale))
    # Only for a person: threads would cost a bot's start two milliseconds.
    from secretsd.cli.spinner import spinning

    with spinning(f"wait: for {bundle}, at most {timeout}"):
        outcome = _wait(bundle, path, timeout, max_age, allow_stale=allow_stale)
    return said(*outcome)


def _wait(bundle: str, path: str, timeout: str, max_age: str | None, *, allow_stale: bool) -> tuple[int, str]:
    """The exit code, and what is to be said with it."""
    deadline = time.monotonic() + min(parse_timespan(timeout), _LONGEST_S)
    request = _request(bundle, timeout, max_age, allow_stale=allow_stale)
    while True:
        try:
            return _ask(path, request, deadline + _ANSWER_GRACE_S - time.monotonic())
        except PermissionError:
            return os.EX_NOPERM, f"may not connect to {path}: check its mode and its directory's"
        except OSError:
            runtime_dir = os.path.dirname(path)
            is_published = _is_published(runtime_dir, bundle)
            is_too_old = _is_too_old(runtime_dir, bundle, max_age)
        if (is_published and is_too_old is False) or time.monotonic() >= deadline:
            break
        time.sleep(_CONNECT_PAUSE_S)
    silence = f"secretsd does not answer on {path}"
    if not is_published:
        return os.EX_TEMPFAIL, f"{silence}, and {bundle} is not published: systemctl status secretsd"
    if is_too_old is False:
        return os.EX_OK, f"{silence}; {bundle} is used as it was published"
    known = f"{bundle} is too old" if is_too_old else f"so the age of {bundle} is unknown"
    if allow_stale:
        return os.EX_OK, f"{silence}, {known}; it is used as it was published"
    return os.EX_TEMPFAIL, f"{silence}, {known}: systemctl status secretsd"


def _is_published(runtime_dir: str, bundle: str) -> bool:
    """Whether the bundle's symlink shows one of its generations."""
    link = os.path.join(runtime_dir, bundle)
    try:
        return os.readlink(link).startswith(f".generations/{bundle}/") and os.path.isdir(link)
    except OSError:
        return False


def _is_too_old(runtime_dir: str, bundle: str, max_age: str | None) -> bool | None:
    """Whether the bundle was confirmed too long ago, by what the daemon has noted last; None: not known.

    Without a `max_age` of the caller's the configuration's counts, where it has one.
    """
    try:
        with open(os.path.join(runtime_dir, ".confirmed", bundle), encoding="ascii") as file:
            limit, confirmed, _ = file.read(128).split(" ", 2)
        now = time.monotonic()
        age_s = now - float(confirmed)
        # Not "is it older": of a time that is none, or that this boot has not come to, nothing is younger.
        if not age_s >= -_CLOCK_SLACK_S:
            return True
        if max_age is not None:
            return not age_s <= parse_timespan(max_age)
        return limit != "-" and not now <= float(limit)
    except (OSError, ValueError):
        return None if max_age is not None else False


def said(code: int, message: str) -> int:
    """Prints the message on stderr, in characters that no terminal obeys, and returns the code.

    It is one line, but for a terminal, where it is broken between words.
    """
    if not message.isprintable():
        message = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    # A closed or full stderr must not keep a bot from starting: what counts is the code.
    if message and sys.stderr is not None:
        text = f"secretsctl: {message}"
        try:
            if sys.stderr.isatty():
                from secretsd.cli.paper import fitted  # only for a person, as in `wait`

                text = fitted(text, sys.stderr)
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        except OSError:
            pass
    return code


def parse(arguments: list[str]) -> dict[str, object] | None:
    """The options of a plain `wait`; None for anything that deserves argparse's help or error."""
    options: dict[str, object] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in _OPTIONS_WITH_VALUE and (equals or rest):
            options[name[2:].replace("-", "_")] = value if equals else rest.pop(0)
        elif word == "--allow-stale":
            options["allow_stale"] = True
        elif word.startswith("-") or "bundle" in options:
            return None
        else:
            options["bundle"] = word
    return options if "bundle" in options and _are_timespans(options) else None


def _are_timespans(options: dict[str, object]) -> bool:
    try:
        for name in ("timeout", "max_age"):
            if name in options:
                parse_timespan(str(options[name]))
    except ValueError:
        return False
    return True


def _is_name(bundle: str) -> bool:
    """As the configuration's names of bundles, without the `re` that would cost a third of the time."""
    known = all(character in _NAME_CHARACTERS for character in bundle)
    return known and bundle[:1] not in ("", ".", "_", "-") and len(bundle) <= _LONGEST_NAME


def _request(bundle: str, timeout: str, max_age: str | None, *, allow_stale: bool) -> bytes:
    # JSON by hand: every word in it was checked to hold nothing that JSON escapes.
    span = " ".join(timeout.split())
    fields = [f'"command": "wait", "bundle": "{bundle}", "timeout": "{span}"']
    if max_age is not None:
        span = " ".join(max_age.split())
        fields.append(f'"max_age": "{span}"')
    if allow_stale:
        fields.append('"allow_stale": true')
    return ("{" + ", ".join(fields) + "}\n").encode()


def _ask(path: str, request: bytes, timeout_s: float) -> tuple[int, str]:
    """Code and message of the answer's first line. Raises: OSError, also for an answer that was cut off."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(max(timeout_s, 0.1))
        connection.connect(path)
        connection.send(request)
        answer = b""
        while b"\n" not in answer and len(answer) < _MAX_ANSWER_BYTES:
            data = connection.recv(4096)
            if not data:
                break
            answer += data
    finally:
        connection.close()
    line, end, _ = answer.partition(b"\n")
    code, _, message = line.partition(b" ")
    if not end or not code.isdigit():
        raise OSError("the daemon ended before it answered")
    return int(code), message.decode("utf-8", "replace")
