"""Which bundles a hint is about, and what is worth asking for."""

from __future__ import annotations

import pytest

from secretsd.config.models import Bundle
from secretsd.model import SecretRef, SecretVersion
from secretsd.push.messages import Hint
from secretsd.refresh.push.hints import LONGEST_PAUSE_S, Pace, Told, expected, missing
from tests.push.samples import ARN, NAME, VERSION

OTHER = "33333333-aaaa-4bbb-8ccc-000000000003"


def bundle(secret_id: str = NAME, **keys: object) -> Bundle:
    secret = {"source": "aws", "id": secret_id, "variable": "TOKEN", **keys}
    return Bundle.model_validate({"secrets": [secret]})


def named(hint: Hint, **bundles: Bundle) -> set[str]:
    return set(expected(hint, "aws", bundles))


@pytest.mark.parametrize(
    ("secret_id", "arn", "name", "is_about"),
    [
        (NAME, ARN, NAME, True),
        (NAME, ARN, None, True),
        (NAME, None, NAME, True),
        (ARN, ARN, NAME, True),
        (ARN, None, NAME, True),
        (ARN[:-7], ARN, NAME, True),
        (ARN[:-7], None, NAME, True),
        (ARN, ARN[:-7], None, True),
        (NAME, ARN[:-7], None, True),
        ("prod/bo", ARN, NAME, False),
        ("bot", ARN, None, False),
        ("prod/bot-2", ARN, None, False),
        (ARN.replace("123456789012", "999999999999"), ARN, NAME, False),
        (ARN.replace("bot", "other"), None, NAME, False),
        (NAME, ARN.replace("bot", "bot-2"), None, False),
    ],
)
def test_a_secret_is_known_by_each_of_its_names(
    secret_id: str, arn: str | None, name: str | None, is_about: bool
) -> None:
    assert (named(Hint(arn, name, "AWSCURRENT", VERSION), b=bundle(secret_id)) == {"b"}) is is_about


def test_only_what_is_read_at_the_label_that_moved_is_asked_for() -> None:
    bundles = {
        "current": bundle(),
        "live": bundle(stage="LIVE"),
        "previous": bundle(stage="AWSPREVIOUS"),
        "pinned": bundle(version=VERSION),
    }
    # AWSPREVIOUS moves whenever AWSCURRENT does, and nobody tells of that.
    assert named(Hint(ARN, NAME, "AWSCURRENT", VERSION), **bundles) == {"current", "previous"}
    assert named(Hint(ARN, NAME, "LIVE", VERSION), **bundles) == {"live"}
    assert named(Hint(ARN, NAME, "AWSPENDING", VERSION), **bundles) == set()
    assert named(Hint(ARN, NAME, None, None), **bundles) == {"current", "live", "previous"}


def test_a_secret_of_another_source_is_not_meant() -> None:
    assert expected(Hint(ARN, NAME, "AWSCURRENT", VERSION), "other", {"b": bundle()}) == {}


def test_what_was_told_is_missing_until_the_source_has_given_it() -> None:
    ref = SecretRef("aws", NAME)
    wanted = expected(Hint(ARN, NAME, "AWSCURRENT", VERSION), "aws", {"b": bundle()})["b"]
    assert missing(wanted, [SecretVersion(ref, OTHER, None)]) == {ref: VERSION}
    assert missing(wanted, [SecretVersion(ref, VERSION, None)]) == {}
    assert missing({ref: None}, []) == {}


def test_a_message_that_comes_twice_counts_once_and_a_label_that_goes_back_is_news() -> None:
    told = Told()
    first, second = (Hint(ARN, NAME, "AWSCURRENT", version) for version in (VERSION, OTHER))
    assert told.is_news(first)
    assert not told.is_news(first)
    assert told.is_news(second)
    assert told.is_news(first)
    assert told.is_news(Hint(ARN, NAME, "LIVE", VERSION))
    assert told.is_news(Hint(ARN, NAME, None, None))
    assert told.is_news(Hint(ARN, NAME, None, None))


def test_what_is_remembered_of_hints_does_not_grow_for_ever() -> None:
    told = Told()
    for number in range(10_000):
        told.is_news(Hint(None, f"name-{number}", "AWSCURRENT", VERSION))
    assert len(told._last) <= 4096
    assert not told.is_news(Hint(None, "name-9999", "AWSCURRENT", VERSION))


def test_hints_that_bring_nothing_new_are_followed_ever_more_seldom_and_news_ends_that() -> None:
    ref = SecretRef("aws", NAME)
    old, new = SecretVersion(ref, VERSION, None), SecretVersion(ref, OTHER, None)
    pace, now = Pace(), 1000.0
    asked: list[float] = []
    while now < 1000.0 + 3600.0:
        now = max(now, pace.next_at([old], pause_s=1.0))
        pace.ask([old], now=now)
        asked.append(now)
    assert len(asked) < 70, "a flood of an hour costs about a read a minute"
    assert asked[1] - asked[0] == 1.0
    assert asked[-1] - asked[-2] == LONGEST_PAUSE_S
    assert pace.next_at([new], pause_s=1.0) == now + 1.0, "the source had something new"
    pace.ask([new], now=now + 1.0)
    assert pace.next_at([new], pause_s=1.0) == now + 2.0
