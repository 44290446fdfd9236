"""A marker stands for a secret: no repr, str, pickle, log line, error or traceback shows it.

Each search first finds a planted copy, so that a search that sees nothing cannot pass.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.config.sources import AwsSecretsManager
from secretsd.errors import Failure, FailureError
from secretsd.model import CloudIdentity, FetchedSecret, SecretRef
from secretsd.refresh import messages
from secretsd.refresh.files.publish import Owner, RenderedFile, content_digest, publish
from secretsd.refresh.formats.interface import UnwritableError
from secretsd.refresh.formats.registry import FORMATS
from secretsd.refresh.messages import IdentityResolved, Job, SourceJob
from secretsd.refresh.worker import worker
from secretsd.refresh.worker.validate import Variables, validate
from tests.canary.records import everything_logged
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.refresh.fakes import bundle, candidate

REF = SecretRef("aws", "prod/bot")
IDENTITY = CloudIdentity(f"k{MARKER}", f"s{MARKER}", f"t{MARKER}", 4e9, "iam-role")
SOURCE = SourceJob(AwsSecretsManager(type="aws-secretsmanager"), identity=IDENTITY)
HOLDERS = [
    FetchedSecret(REF, "v1", None, f'{{"TOKEN": "{MARKER}"}}'.encode()),
    Variables({"TOKEN": MARKER.encode()}, (), {}),
    RenderedFile("env", f"TOKEN='{MARKER}'".encode()),
    IDENTITY,
    SOURCE,
    IdentityResolved("aws", IDENTITY),
    Job("/run", 1.0, {"aws": SOURCE}, {"bot": bundle()}, {}, foreground=True),
]
# Role credentials go to a worker with its job, by design; a bundle's own secrets go nowhere.
WORKER_ONLY = HOLDERS[:3]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with everything_logged() as written:
        yield written


def test_the_search_is_not_blind(log: io.StringIO) -> None:
    logging.getLogger("any").debug("planted", extra={"field": MARKER})
    assert shows(log.getvalue())
    assert shows(repr({"a": MARKER}))
    assert shows(pickle.dumps(dataclasses.asdict(HOLDERS[0])))  # type: ignore[call-overload]
    assert not shows("fake-OTHER")


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_what_holds_a_secret_does_not_print_it(holder: object, log: io.StringIO) -> None:
    logging.getLogger("secretsd").info("a bug: %s", holder, extra={"holder": holder, "many": [holder]})
    nested = {"list": [holder], "tuple": (holder,), "error": ValueError(holder)}
    shown = [repr(holder), str(holder), f"{holder}", f"{holder!r}", repr(nested), log.getvalue()]
    assert "a bug" in log.getvalue()
    assert not any(map(shows, shown))


@pytest.mark.parametrize("holder", WORKER_ONLY, ids=lambda holder: type(holder).__name__)
def test_a_bundles_secret_cannot_be_pickled_or_copied_out_of_its_worker(holder: object) -> None:
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"not leave (its|their) worker") as caught:
            leave(holder)
        assert not shows("".join(traceback.format_exception(caught.value)))


def test_no_message_to_the_conductor_can_carry_a_bundles_secret() -> None:
    for message in (messages.Prepared, messages.Published, messages.Failed, messages.PublishFailed):
        fields = str([field.type for field in dataclasses.fields(message)])
        assert not any(name in fields for name in ("FetchedSecret", "Variables", "RenderedFile", "bytes"))


BAD_VALUES = [
    MARKER, f"{MARKER}\0", f"{MARKER}\ufffe", [MARKER], {MARKER: MARKER}, f"{MARKER}\ud800", MARKER * 20_000,
    f"{MARKER}\n", f"{MARKER}'`\"# ", f"'{MARKER}\\", f"{MARKER}\r",
]  # fmt: skip
BAD_RULES = [
    {}, {"type": "integer"}, {"type": "decimal", "max": 1}, {"type": "boolean"}, {"choices": ["a", "b"]},
    {"pattern": "x+"}, {"min_length": 10**6}, {"max_length": 1}, {"min_entropy_bits": 10**6},
]  # fmt: skip


def errors_of(value: object, rule: dict[str, object]) -> list[object]:
    wanted = bundle(variables={"TOKEN": rule})
    found = validate(wanted, {REF: FetchedSecret(REF, "v1", None, json.dumps({"TOKEN": value}).encode())})
    if isinstance(found, tuple):
        return list(found)
    errors: list[object] = []
    for dialect in FORMATS.values():
        try:
            dialect.render(found.values)
        except UnwritableError as error:
            errors += [error, error.reasons, *traceback.format_exception(error)]
    return errors


def test_no_refusal_quotes_the_value_that_it_refuses() -> None:
    found = [error for value in BAD_VALUES for rule in BAD_RULES for error in errors_of(value, rule)]
    assert len(found) > 40
    assert not any(shows(repr(error)) or shows(str(error)) for error in found)


def test_no_error_of_a_publish_quotes_what_it_could_not_write(tmp_path: Path) -> None:
    with pytest.raises(FailureError) as caught:
        publish(tmp_path / "gone", candidate(), 1, (RenderedFile("env", MARKER.encode()),), Owner())
    error = caught.value
    shown = [repr(error), str(error), error.advice, repr(error.failure), *traceback.format_exception(error)]
    assert not any(map(shows, shown))


def test_a_digest_says_nothing_to_who_has_no_key() -> None:
    files = (RenderedFile("env", MARKER.encode()),)
    digests = {content_digest(key, files, Owner()) for key in (b"a" * 32, b"b" * 32)}
    assert len(digests) == 2


def test_a_bug_in_the_worker_is_told_by_its_type_alone() -> None:
    assert not shows(repr(worker._bug("bot", ValueError(MARKER))))


def test_a_failure_is_made_of_names_only() -> None:
    assert {field.name for field in dataclasses.fields(Failure)} == {
        "code", "failure_class", "message", "advice", "secret", "variable",
    }  # fmt: skip
