"""What `secretsctl doctor` says of the signing service: its units, its PIN, its token, each key."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secretsd.cli import signer as client
from secretsd.cli import signer_host_checks
from secretsd.config.models import Config
from secretsd.config.signer import Signer
from secretsd.config.signer_host import signer_cautions
from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ExitCode, SecretsdError
from secretsd.signing.errors import KINDS

Document = Mapping[str, Any]

_RESTART = "journalctl -u secretsd-signer -n 50; systemctl restart secretsd-signer"


def signer(config: Config) -> Iterator[Check]:
    """Nothing where the configuration has no table [signer]. Blocks while the signer looks, at most 15 s."""
    if config.signer is None:
        return
    for caution in signer_cautions(config):
        place, _, text = caution.partition(": ")
        yield warn(place, text, "correct [signer], then: systemctl reload secretsd-signer")
    yield from signer_host_checks.host(config.signer)
    if config.signer.pin.startswith("file:"):
        yield from _pin_file(Path(config.signer.pin.removeprefix("file:")))
    options = argparse.Namespace(socket=None, config=None, signer_socket=str(config.signer.socket))
    try:
        report = client.get(options, "/v1/secretsd/report")
    except SecretsdError as error:
        is_refused = error.exit_code is ExitCode.REFUSED
        fix = "sudo secretsctl doctor" if is_refused else error.advice or _RESTART
        yield fail("signer", str(error), fix, error.exit_code)
    else:
        yield from judge(report, config.signer)


def judge(report: Document, config: Signer) -> Iterator[Check]:
    """What the signer tells of itself. Pure."""
    under_way = f"{report['under_way']} under way, {report['waiting']} waiting"
    yield ok("signer", f"answers on {config.socket}: {under_way}")
    yield _token(report)
    if report["breaker_open"]:
        fix = "lower sessions in [signer], or see the token's own logs"
        yield warn("token", "fails at what it is asked, and is left alone for moments", fix)
    if report["audit_trouble"]:
        yield _failed("audit", report["audit_trouble"])
    else:
        yield ok("audit", f"{report['audit_file']} is written")
    yield from _keys(report, config)


def _token(report: Document) -> Check:
    if report["trouble"]:
        return _failed("token", report["trouble"])
    token = report["token"]
    if token is None:
        return warn("token", "is being opened", "ask again in a few seconds")
    return ok("token", f"{token['label']} ({token['library']}), mechanisms: {token['mechanisms']}")


def _keys(report: Document, config: Signer) -> Iterator[Check]:
    lacking = (report["token"] or {}).get("lacking", {})
    for name, key in config.keys.items():
        check = f"key {name}"
        if name in report["problems"]:
            yield _failed(check, report["problems"][name])
        elif name in lacking:
            missing = ", ".join(lacking[name])
            fix = "take operations and mechanisms out that the token cannot do, or use another token"
            yield fail(check, f"the token does not have {missing}", fix, ExitCode.CONFIG)
        elif name in report["retired"]:
            yield warn(check, "its newest version is retired", f"secretsctl keys generate {name}")
        elif name in report["keys"]:
            count = report["keys"][name]
            yield ok(check, f"{key.type}, {count} version{'s' * (count != 1)}")
            if not key.allow and key.operations:
                fix = f"add allow to [signer.keys.{name}]"
                yield warn(check, "nobody may use it", fix)
        elif not report["trouble"]:
            yield warn(check, "the signer has not read it yet", "systemctl reload secretsd-signer")


def _failed(check: str, error: Document) -> Check:
    kind = KINDS.get(str(error["code"]))
    code = ExitCode.BUG if kind is None else kind.exit_code
    return fail(check, str(error["text"]), str(error["fix"]) or _RESTART, code)


def _pin_file(path: Path) -> Iterator[Check]:
    try:
        found = os.stat(path)
    except PermissionError:
        return  # this user may not look; the signer itself says whether it can
    except OSError as error:
        yield fail("pin", f"{path}: {os.strerror(error.errno or 0)}", f"write it to {path}", ExitCode.CONFIG)
        return
    if stat.S_IMODE(found.st_mode) & 0o077:
        fix = f"chmod 600 {path}"
        yield fail("pin", f"{path} may be read by others than its owner", fix, ExitCode.CONFIG)
