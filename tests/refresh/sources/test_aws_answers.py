"""Whatever an answer is made of, reading it gives a whole value of what was asked, a fault, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.aws.secretsmanager import SECRETS_MANAGER
from secretsd.refresh.sources.aws.service import Service
from secretsd.refresh.sources.aws.ssm import PARAMETER_STORE
from secretsd.refresh.sources.faults import MISSING, CallFailedError, Fault

SERVICES = pytest.mark.parametrize("service", [SECRETS_MANAGER, PARAMETER_STORE], ids=lambda s: s.client_name)
REFS = (
    SecretRef("aws", "a"),
    SecretRef("aws", "b"),
    SecretRef("aws", "a", version="3"),
    SecretRef("aws", "b", "live"),
)

# Right words in wrong places find more than noise does.
WORDS = st.sampled_from(
    ["a", "b", "a:3", "b:live", ":3", ":live", "3", "AWSCURRENT", "SecureString", "AccessDeniedException", ""]
)
SCALARS = st.one_of(
    WORDS,
    st.none() | st.booleans() | st.integers(-2, 4) | st.floats(),
    st.binary(max_size=3) | st.text(max_size=3),
    st.just(datetime(2026, 11, 24, tzinfo=UTC)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
WHOLE: list[dict[str, object]] = [
    {"Name": "a", "ARN": "arn:a", "Type": "SecureString", "Value": "fake", "Version": 3, "Selector": ":3"},
    {"Name": "b", "ARN": "arn:b", "Type": "String", "Value": "fake", "Version": 1, "LastModifiedDate": None},
    {"Name": "a", "ARN": "arn:a", "VersionId": "3", "VersionStages": ["AWSCURRENT"], "SecretString": "fake"},
    {"Name": "b", "ARN": "arn:b", "VersionId": "v", "VersionStages": ["live"], "SecretBinary": b"fake"},
    {"SecretId": "a", "ErrorCode": "AccessDeniedException", "Message": "no"},
]
FIELDS = sorted({field for entry in WHOLE for field in entry} | {"CreatedDate"})
# A whole one with a lie or two in it gets further than one that is all lies.
ENTRIES = st.builds(
    lambda entry, lies: {**entry, **lies},
    st.sampled_from(WHOLE),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2),
)
LISTS = st.lists(ENTRIES, max_size=3) | st.lists(ENTRIES | VALUES, max_size=3) | VALUES
LIST_NAMES = ("Parameters", "InvalidParameters", "SecretValues", "Errors")
ANSWERS = ENTRIES | st.fixed_dictionaries({}, optional=dict.fromkeys(LIST_NAMES, LISTS))


@SERVICES
@settings(max_examples=500, deadline=None)
@given(answer=ANSWERS)
def test_no_answer_makes_its_reader_raise_anything_but_that_it_is_not_whole(
    service: Service, answer: dict[str, Any]
) -> None:
    readers: list[Any] = [service.single(ref).read for ref in REFS]
    readers += [service.batch(REFS[:2]).read, service.batch(REFS).read]
    doubts = [service.doubt(ref, MISSING) for ref in REFS]
    readers += [doubt.read for doubt in doubts if doubt is not None]
    codes = set()
    for read in readers:
        try:
            found = read(answer)
        except CallFailedError as failed:
            codes.add(failed.fault.code)
            continue
        for each in found.values() if isinstance(found, dict) else [found]:
            assert isinstance(each, FetchedSecret | Fault)
            if isinstance(each, FetchedSecret):
                assert isinstance(each.payload, bytes)
                assert each.version_id
    assert codes <= {"incomplete-answer"}
