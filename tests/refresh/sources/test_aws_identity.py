"""Role credentials come from IMDSv2 with their expiry, and an outage of it is transient."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from secretsd.errors import FailureClass
from secretsd.model import CloudIdentity, FetchedSecret, Identity, VaultToken
from secretsd.refresh.source_book.identity import needs_refresh
from secretsd.refresh.sources.aws.identity import resolve_identity
from secretsd.refresh.sources.aws.session import new_session
from secretsd.refresh.sources.faults import CallFailedError
from secretsd.refresh.sources.interface import FetchFailure
from tests.refresh.sources.conftest import Open, refs, soon
from tests.refresh.sources.fake_imds import FakeImds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.refresh.sources.scripted_aws import ScriptedAws

HOUR = 3600.0


@pytest.fixture
def imds(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeImds]:
    service = FakeImds()
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    # Whatever the environment says, version 1 is never used.
    monkeypatch.setenv("AWS_EC2_METADATA_V1_DISABLED", "false")
    yield service
    service.close()


def test_a_role_is_resolved_with_its_expiry(imds: FakeImds) -> None:
    assert resolve_identity(new_session(), 5.0) == CloudIdentity(
        "FAKE-ROLE-KEY", "fake-role-secret-MARKER", "fake-role-token-MARKER", imds.expires_at, "iam-role", 5.0
    )
    assert [method for method, _, _ in imds.requests] == ["PUT", "GET", "GET"]
    assert all(has_token for method, _, has_token in imds.requests if method == "GET")


def test_a_fetch_without_identity_finds_it_and_shows_it_to_be_kept(
    aws: ScriptedAws, open_source: Open, imds: FakeImds
) -> None:
    source = open_source(identity=None)
    (found,) = source.fetch(refs("a"), deadline=soon())
    assert isinstance(found, FetchedSecret)
    assert source.identity is not None
    assert source.identity.expires_at == imds.expires_at
    asked = len(imds.requests)
    (found,) = open_source(identity=source.identity).fetch(refs("a"), deadline=soon())
    assert isinstance(found, FetchedSecret)
    assert len(imds.requests) == asked  # the metadata service was not asked again


KEPT = CloudIdentity("fake-kept-key", "fake-kept-secret", "fake-kept-token", 4e9, "iam-role")


def test_an_identity_that_is_due_is_renewed(aws: ScriptedAws, open_source: Open, imds: FakeImds) -> None:
    source = open_source(identity=KEPT, renew_identity=True)
    assert isinstance(next(source.fetch(refs("a"), deadline=soon())), FetchedSecret)
    assert source.identity is not None
    assert source.identity.access_key == "FAKE-ROLE-KEY"


def test_a_kept_identity_serves_through_an_outage_of_the_metadata_service_until_it_expires(
    aws: ScriptedAws, open_source: Open, imds: FakeImds
) -> None:
    imds.mode = "down"
    source = open_source(identity=KEPT, renew_identity=True)
    assert isinstance(next(source.fetch(refs("a"), deadline=soon())), FetchedSecret)
    assert source.identity is KEPT
    expired = replace(KEPT, expires_at=time.time() - 1.0)
    (found,) = open_source(identity=expired, renew_identity=True).fetch(refs("a"), deadline=soon())
    assert isinstance(found, FetchFailure)
    assert found.failure.code == "metadata-unreachable"


def test_static_credentials_of_the_environment_need_no_identity(
    imds: FakeImds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    assert resolve_identity(new_session(), 0.0) is None
    assert imds.requests == []


@pytest.mark.parametrize(
    ("mode", "code", "failure_class"),
    [
        ("down", "metadata-unreachable", FailureClass.TRANSIENT),
        ("hang", "metadata-unreachable", FailureClass.TRANSIENT),
        ("role-down", "metadata-unreachable", FailureClass.TRANSIENT),
        ("keys-down", "metadata-unreachable", FailureClass.TRANSIENT),
        ("keys-hang", "metadata-unreachable", FailureClass.TRANSIENT),
        ("no-role", "no-credentials", FailureClass.IDENTITY),
    ],
)
def test_a_metadata_service_that_fails_at_any_step_is_not_taken_for_a_missing_role(
    aws: ScriptedAws,
    open_source: Open,
    imds: FakeImds,
    mode: str,
    code: str,
    failure_class: FailureClass,
) -> None:
    imds.mode = mode
    started = time.monotonic()
    (found,) = open_source(identity=None).fetch(refs("a"), deadline=soon())
    assert time.monotonic() - started < 3.0
    assert isinstance(found, FetchFailure)
    assert (found.failure.code, found.failure.failure_class) == (code, failure_class)
    assert aws.requests == []
    assert all(has_token for method, _, has_token in imds.requests if method == "GET")


def test_no_metadata_service_at_all_is_transient(
    open_source: Open, imds: FakeImds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9/")
    (found,) = open_source(identity=None).fetch(refs("a"), deadline=soon())
    assert isinstance(found, FetchFailure)
    assert found.failure.code == "metadata-unreachable"


def test_a_garbled_answer_of_the_metadata_service_gives_no_identity(imds: FakeImds) -> None:
    imds.mode = "garbled"
    with pytest.raises(CallFailedError) as caught:
        resolve_identity(new_session(), 0.0)
    assert caught.value.__context__ is None


def identity(expires_at: float, obtained_at: float | None = None) -> CloudIdentity:
    return CloudIdentity("k", "s", "t", expires_at, "iam-role", obtained_at)


@pytest.mark.parametrize(
    ("known", "now", "expected"),
    [
        (None, 0.0, True),
        (identity(6 * HOUR, 0.0), 3.9 * HOUR, False),
        (identity(6 * HOUR, 0.0), 4.1 * HOUR, True),  # less than a third of six hours
        (identity(0.5 * HOUR, 0.0), 0.2 * HOUR, False),
        (identity(0.5 * HOUR, 0.0), 0.3 * HOUR, True),  # less than 15 minutes
        (identity(6 * HOUR), 5.7 * HOUR, False),
        (identity(6 * HOUR), 5.8 * HOUR, True),
        (identity(6 * HOUR, 0.0), 7 * HOUR, True),
        (VaultToken("t", HOUR, "approle", 0.0), 0.45 * HOUR, False),
        (VaultToken("t", HOUR, "approle", 0.0), 0.55 * HOUR, True),
        (VaultToken("t", 600.0, "approle", 0.0), 200.0, False),  # a life of ten minutes is no hurry
    ],
)
def test_an_identity_is_renewed_well_before_it_expires(
    known: Identity | None, now: float, expected: bool
) -> None:
    assert needs_refresh(known, now) is expected
