"""Which error is mended how: an error in the wrong class is a signer that loops, or one that gives up."""

from __future__ import annotations

import pytest
from pkcs11 import exceptions
from pkcs11.exceptions import PKCS11Error

from secretsd.signing.pkcs11 import faults
from secretsd.signing.pkcs11.breaker import Breaker, pause_s
from secretsd.signing.pkcs11.faults import Cure

EVERY_ERROR = [
    each
    for each in vars(exceptions).values()
    if isinstance(each, type) and issubclass(each, PKCS11Error) and each is not PKCS11Error
]


def test_every_pin_error_is_the_operator_s_and_no_other_is() -> None:
    """A PIN that is tried again by itself locks the token."""
    about_pins = {each for each in EVERY_ERROR if "Pin" in each.__name__}
    assert len(about_pins) >= 7
    assert {each for each in EVERY_ERROR if faults.cure_of(each()) is Cure.OPERATOR} == about_pins


@pytest.mark.parametrize("start", ["Mechanism", "Data", "Template", "Attribute"])
def test_the_caller_s_faults_are_answered_at_once(start: str) -> None:
    of_the_caller = [each for each in EVERY_ERROR if each.__name__.startswith(start)]
    assert of_the_caller
    assert {faults.cure_of(each()) for each in of_the_caller} == {Cure.NONE}


@pytest.mark.parametrize(
    ("text", "name", "cure"),
    [
        ("Unmapped error code 0x68", "CKR_KEY_FUNCTION_NOT_PERMITTED", Cure.NONE),
        ("Unmapped error code 0x1b", "CKR_ACTION_PROHIBITED", Cure.NONE),
        (
            "Initialisation error (not initialized). Should never see this.",
            "CKR_CRYPTOKI_NOT_INITIALIZED",
            Cure.RESET,
        ),
        ("Unmapped error code 0x80000001", "CKR 0x80000001", Cure.ANOTHER_TRY),
        ("OS exception", "CKR of an unknown number", Cure.ANOTHER_TRY),
    ],
)
def test_codes_without_a_class_of_their_own(text: str, name: str, cure: Cure) -> None:
    error = PKCS11Error(text)
    assert faults.name_of(error) == name
    assert faults.cure_of(error) is cure


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (exceptions.FunctionFailed, "CKR_FUNCTION_FAILED"),
        (exceptions.SlotIDInvalid, "CKR_SLOT_ID_INVALID"),
        (exceptions.PinIncorrect, "CKR_PIN_INCORRECT"),
        (exceptions.UserNotLoggedIn, "CKR_USER_NOT_LOGGED_IN"),
    ],
)
def test_an_operator_finds_the_error_in_the_token_s_manual(error: type[PKCS11Error], name: str) -> None:
    assert faults.name_of(error()) == name
    assert name in faults.refused(error()).sentence


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_at_a_time_try() -> None:
    breaker = Breaker(threshold=3, open_s=1.0)
    for _ in range(2):
        breaker.failed(10.0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(10.0)
        assert breaker.admits(10.0)
    breaker.failed(10.0)
    assert not breaker.admits(10.9)
    assert breaker.admits(11.0)
    assert not breaker.admits(11.5), "a second one went along"
    assert breaker.admits(12.0)
    breaker.succeeded()
    assert breaker.is_closed
    assert breaker.is_spotless


def test_pauses_grow_and_have_an_end() -> None:
    assert pause_s(0, 0.0) == 0.0
    assert pause_s(0, 1.0) < pause_s(1, 1.0) < pause_s(2, 1.0)
    assert pause_s(50, 1.0) <= 0.05
