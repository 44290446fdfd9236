"""A bundle's files and their owner, from its variables and its table. For a worker: they hold secrets."""

from __future__ import annotations

import os
import pwd
from pathlib import PurePosixPath

from secretsd.config.models import Bundle, Output
from secretsd.errors import Failure, FailureClass, FailureError
from secretsd.refresh.files.publish import Owner, RenderedFile
from secretsd.refresh.formats.interface import UnwritableError
from secretsd.refresh.formats.registry import FORMATS
from secretsd.refresh.worker.validate import Variables


class RejectedError(Exception):
    """The bundle cannot be made; at least one failure."""

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        super().__init__()
        self.failures = failures


def render_all(bundle: Bundle, variables: Variables) -> tuple[RenderedFile, ...]:
    """Raises: RejectedError with what each of the outputs cannot hold."""
    files: list[RenderedFile] = []
    failures: list[Failure] = []
    for output in bundle.outputs:
        try:
            contents = FORMATS[output.format].render(variables.values)
        except UnwritableError as error:
            failures += [_unwritable(output, variables, name, why) for name, why in error.reasons.items()]
        else:
            base = PurePosixPath(output.path)
            files += [RenderedFile(str(base / below), content) for below, content in contents.items()]
    if failures:
        raise RejectedError(tuple(failures))
    return tuple(files)


def _unwritable(output: Output, variables: Variables, name: str, why: str) -> Failure:
    origin = variables.origins.get(name)
    return Failure(
        code="unwritable",
        failure_class=FailureClass.DATA,
        message=f"{name} from {origin or 'its default'} {why} (format {output.format}, output {output.path})",
        advice="change the secret's value, or publish it in another format",
        secret=origin,
        variable=name,
    )


def owner_of(bundle: Bundle, *, foreground: bool) -> Owner:
    if bundle.owner is None:
        return Owner()
    try:
        entry = pwd.getpwnam(bundle.owner)
    except KeyError:
        raise FailureError(
            Failure(
                code="unknown-owner",
                failure_class=FailureClass.IO,
                message=f"the user {bundle.owner} does not exist on this host",
                advice=f"create the user {bundle.owner}, or name another owner",
            )
        ) from None
    if foreground and entry.pw_uid == os.geteuid():
        return Owner()
    return Owner(entry.pw_uid, entry.pw_gid)
