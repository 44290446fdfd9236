"""Who reads the bucket is told what is his to mend: he has no configuration and no service of the host."""

from __future__ import annotations

import re

import pytest

from secretsd.errors import FailureClass
from secretsd.shipping.sinks.texts import KNOWN, cannot_read, failure_of

# Of sinks that a reader never has to do with, or of what only a write is refused for.
_OF_WRITERS = {"journal-full", "journal-unreachable", "log-group-missing", "no-object-lock"}
_OF_THE_HOST = re.compile(r"shipper|endpoint_url|(?:bucket|region|kms_key) of \[audit|instance")


def test_a_text_for_the_shipper_would_be_found() -> None:
    failure = failure_of("unknown-credentials", FailureClass.IDENTITY, "s3")
    assert _OF_THE_HOST.search(f"{failure.message} {failure.advice}")


@pytest.mark.parametrize("code", sorted(KNOWN - _OF_WRITERS))
def test_a_reader_is_not_told_to_mend_the_shipper(code: str) -> None:
    failure = cannot_read(failure_of(code, FailureClass.TRANSIENT, "s3"))
    assert not _OF_THE_HOST.search(f"{failure.message} {failure.advice}"), failure
    assert failure.advice
