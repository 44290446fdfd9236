from __future__ import annotations

import io
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.errors import Failure, FailureClass
from secretsd.model import (
    Candidate,
    CloudIdentity,
    PublishedFile,
    PublishRecord,
    Rejected,
    SecretRef,
    SecretVersion,
)
from secretsd.refresh import messages
from tests.canary.scan import shows
from tests.canary.spellings import MARKER

text = st.text(max_size=20)
number = st.integers(0, 2**62)
seconds = st.none() | st.floats(0, 4e9)
refs = st.builds(SecretRef, text, text, text, st.none() | text)
versions = st.lists(st.builds(SecretVersion, refs, text, seconds), max_size=3).map(tuple)
names = st.lists(text, max_size=3).map(tuple)
failures = st.builds(
    Failure, text, st.sampled_from(FailureClass), text, text, st.none() | text, st.none() | text
)
candidates = st.builds(
    Candidate, text, text, versions, names, names, st.dictionaries(text, names, max_size=2)
)
files = st.builds(PublishedFile, text, *[number] * 6)
records = st.builds(
    PublishRecord, text, number, st.floats(0, 4e9), st.floats(0, 4e9), text, versions, names, names,
    st.lists(files, max_size=3).map(tuple),
)  # fmt: skip
identities = st.builds(CloudIdentity, text, text, st.none() | text, st.floats(0, 4e9), text, seconds)
spoken = st.one_of(
    st.builds(messages.IdentityResolved, text, identities),
    st.builds(messages.Prepared, candidates),
    st.builds(messages.Failed, st.builds(Rejected, text, st.lists(failures, min_size=1).map(tuple))),
    st.builds(messages.Published, records),
    st.builds(messages.PublishFailed, text, failures),
)


@given(spoken)
def test_what_a_worker_says_arrives_as_one_line_and_unchanged(message: messages.WorkerMessage) -> None:
    line = messages.encode_message(message)
    assert line.count(b"\n") == 1
    assert messages.decode_message(line) == message


@given(st.binary(max_size=100))
def test_nonsense_from_a_worker_is_refused_without_quoting_it(nonsense: bytes) -> None:
    with pytest.raises(ValueError, match="of unknown shape") as caught:
        messages.decode_message(MARKER.encode() + nonsense)
    assert not shows(repr(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_pickle_from_a_worker_is_never_opened() -> None:
    with pytest.raises(ValueError, match="of unknown shape"):
        messages.decode_message(pickle.dumps(print) + b"\n")


@given(st.none() | number)
def test_a_verdict_arrives_unchanged(generation: int | None) -> None:
    verdict = messages.Verdict("bot", generation)
    assert messages.decode_verdict(messages.encode_verdict(verdict)) == verdict


@given(records)
def test_a_record_is_read_back_unchanged(record: PublishRecord) -> None:
    assert messages.decode_record(messages.encode_record(record)) == record


@pytest.mark.parametrize("sent", [b"", b"\0" * 8, b"\0" * 7 + b"\x05abc"])
def test_a_job_that_was_cut_off_is_the_end_of_the_worker(sent: bytes) -> None:
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        messages.read_job(io.BytesIO(sent))


def test_a_job_with_no_end_in_sight_is_no_other_object() -> None:
    document = pickle.dumps("not a job")
    with pytest.raises(EOFError):
        messages.read_job(io.BytesIO(len(document).to_bytes(8) + document))
