"""Sealed copies byte by byte: what opens, what is refused, and by which name. No daemon, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.model import FetchedSecret, Hold, SealedHeader, SecretRef, SecretVersion, Showing
from secretsd.refresh.sealed import choice, refusals
from secretsd.refresh.sealed.box import AlteredError, SealKey, WrongKeyError, open_sealed, seal
from secretsd.refresh.sealed.header import decode_header, encode_header

KEY = SealKey.of(bytes(range(32)))
REF = SecretRef("aws", "prod/bot")
SECRET = FetchedSecret(REF, "v1", 1.5, b'{"TOKEN": "fake-\xc3\xa9"}')
DAY_S = 86400.0
NOW = 1_800_000_000.0


def header(**fields: object) -> SealedHeader:
    whole = SealedHeader(
        host="here",
        bundle="bot",
        generation=3,
        versions=(SecretVersion(REF, "v1", 1.5),),
        sealed_at=NOW,
        confirmed_at=NOW,
        key_id=KEY.key_id,
    )
    return replace(whole, **fields)


def showing(generation: int, copy_of: int | None = None, version: str = "v2") -> Showing:
    return Showing(generation, NOW, "", (SecretVersion(REF, version, None),), copy_of)


def code(judgement: object) -> str:
    assert isinstance(judgement, refusals.Failure)
    assert judgement.advice
    return judgement.code


def test_what_was_sealed_opens() -> None:
    binary = FetchedSecret(
        SecretRef("aws", "prod/key", "AWSPENDING", "7"), "7", None, b"\0\xff", is_binary=True
    )
    assert open_sealed(KEY, seal(KEY, header(), [SECRET, binary])) == (header(), (SECRET, binary))


def test_each_byte_that_is_altered_is_refused() -> None:
    content = seal(KEY, header(), [SECRET])
    open_sealed(KEY, content)
    for place in range(len(content)):
        for flip in (1, 0x80):
            altered = content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
            with pytest.raises((AlteredError, WrongKeyError)):
                open_sealed(KEY, altered)


def test_each_cut_and_each_extension_is_refused() -> None:
    content = seal(KEY, header(), [SECRET])
    for end in range(len(content)):
        with pytest.raises(AlteredError):
            open_sealed(KEY, content[:end])
    with pytest.raises(AlteredError):
        open_sealed(KEY, content + b"\0")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(AlteredError):
        open_sealed(KEY, content)
    with pytest.raises(AlteredError):
        open_sealed(KEY, encode_header(header()) + content)


def test_another_key_is_named_and_opens_nothing_even_where_the_copy_claims_it_fits() -> None:
    other = SealKey.of(bytes(32))
    content = seal(KEY, header(), [SECRET])
    with pytest.raises(WrongKeyError):
        open_sealed(other, content)
    with pytest.raises(AlteredError):
        open_sealed(other, content.replace(KEY.key_id.encode(), other.key_id.encode()))


def test_the_header_holds_no_value_and_the_length_of_a_secret_does_not_show() -> None:
    short = seal(KEY, header(), [replace(SECRET, payload=b"fake-1")])
    long = seal(KEY, header(), [replace(SECRET, payload=b"fake-" + b"1" * 200)])
    assert len(short) == len(long)
    assert b"fake" not in short
    assert decode_header(short)[0] == header()


@pytest.mark.parametrize(
    "moment", [float("nan"), float("inf"), -float("inf"), 1e300, 253_402_300_800.0, -1.0]
)
@pytest.mark.parametrize("field", ["sealed_at", "confirmed_at"])
def test_a_time_that_no_calendar_has_is_no_header_before_anybody_shows_it(field: str, moment: float) -> None:
    content = seal(KEY, header(**{field: moment}), [SECRET])
    with pytest.raises(ValueError, match="sealed copy"):
        decode_header(content)
    with pytest.raises(AlteredError):
        open_sealed(KEY, content)


def test_two_seals_of_one_content_share_no_nonce() -> None:
    assert seal(KEY, header(), [SECRET])[-64:] != seal(KEY, header(), [SECRET])[-64:]


@pytest.mark.parametrize(
    ("fields", "now", "expected"),
    [
        ({}, NOW, None),
        ({}, NOW + 7 * DAY_S, None),
        ({}, NOW - 299, None),
        ({}, NOW + 7 * DAY_S + 1, "sealed-too-old"),
        ({}, NOW + 30 * DAY_S, "sealed-too-old"),
        ({}, NOW - 301, "sealed-clock"),
        ({}, 0.0, "sealed-clock"),
        ({"sealed_at": NOW + DAY_S}, NOW, "sealed-clock"),
        ({"confirmed_at": NOW + DAY_S}, NOW, "sealed-clock"),
        ({"host": "there"}, NOW, "sealed-moved"),
        ({"bundle": "other"}, NOW, "sealed-moved"),
        ({"generation": 2}, NOW, "sealed-moved"),
        ({"confirmed_at": -1e300}, NOW, "sealed-too-old"),
    ],
)
def test_an_authentic_copy_is_judged(fields: dict[str, object], now: float, expected: str | None) -> None:
    refusal = refusals.judged(
        header(**fields), name="bot", generation=3, host="here", now=now, max_age_s=7 * DAY_S
    )
    assert (code(refusal) if refusal else None) == expected


def test_no_other_copy_is_chosen_than_the_newest_or_the_one_that_is_held() -> None:
    copies = {2: header(generation=2), 5: None}
    assert choice.choose("bot", {}, None, ()) is None
    assert choice.choose("bot", copies, None, ()) == 5
    assert choice.choose("bot", {2: header()}, None, (showing(2), showing(3, copy_of=2))) == 2
    assert code(choice.choose("bot", {2: header()}, None, (showing(2), showing(3)))) == "sealed-outdated"
    assert choice.choose("bot", {2: header()}, None, (showing(2), showing(3, version="v1"))) == 2
    held = Hold("hold", NOW, "uid 0", "", 2, "d", (SecretVersion(REF, "v1", None),))
    assert choice.choose("bot", copies, held, (showing(5),)) == 2
    other = replace(held, pinned=(SecretVersion(REF, "v9", None),))
    assert code(choice.choose("bot", copies, other, ())) == "sealed-not-held"


def test_a_secret_of_today_is_matched_by_what_it_is_and_a_fixed_version_by_its_id() -> None:
    sealed = [SecretVersion(REF, "3", None)]
    assert choice.matches([REF], sealed) == {REF: sealed[0]}
    fixed = replace(REF, version="3")
    assert choice.matches([fixed], sealed) == {fixed: sealed[0]}
    assert choice.matches([replace(REF, version="4")], sealed) == replace(REF, version="4")
    assert choice.matches([replace(REF, stage="AWSPENDING")], sealed) == replace(REF, stage="AWSPENDING")
    assert choice.matches([REF], [SecretVersion(fixed, "3", None)]) == {REF: SecretVersion(fixed, "3", None)}


@pytest.mark.parametrize(
    ("max_age_s", "age_s", "expected"),
    [
        (7 * DAY_S, 3599.0, False),
        (7 * DAY_S, 3601.0, True),
        (100.0, 9.0, False),
        (100.0, 11.0, True),
        (7 * DAY_S, -299.0, False),
        (7 * DAY_S, -301.0, True),
    ],
)
def test_a_copy_is_told_again_that_it_holds_before_it_gets_old(
    max_age_s: float, age_s: float, *, expected: bool
) -> None:
    assert choice.is_to_be_renewed(header(), max_age_s=max_age_s, now=NOW + age_s) is expected
