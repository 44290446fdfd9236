"""One session of the token, used by one thread at a time, with the way back from each kind of error."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pkcs11.exceptions import PKCS11Error

from secretsd.config.signer import SigningKey
from secretsd.signing.errors import SigningError, version_retired
from secretsd.signing.model import KeyVersion, TokenCall
from secretsd.signing.pkcs11 import faults, gcm, making, objects, parameters, wrapping
from secretsd.signing.pkcs11.breaker import pause_s
from secretsd.signing.pkcs11.faults import Cure

if TYPE_CHECKING:
    from secretsd.signing.pkcs11.token import Token

_T = TypeVar("_T")

_TRIES = 3


class NeedsReset(Exception):  # noqa: N818 - what it is
    """The library is lost: nothing works before Token.reset()."""


class Troubled(Exception):  # noqa: N818 - what it is
    """An impatient lane met an error; a patient one may recover from it."""


class Lane:
    """Every method blocks as long as the token does, and in all at most about a second longer."""

    def __init__(self, token: Token, *, patient: bool) -> None:
        self._token = token
        self._patient = patient
        self._session: Any = None
        self._login = 0
        self._objects: dict[KeyVersion, Any] = {}  # handles of this session
        self._objects_of = token.keys  # as they were found by; other keys may be meant by the same names now

    def sign(self, call: TokenCall, deadline_ns: int = 0) -> bytes:
        """What the token makes of it: r || s of ECDSA, RFC 8032's 64 bytes, an RSA signature, an HMAC."""
        return self._run(partial(self._sign, call), deadline_ns)

    def verify_mac(self, call: TokenCall, mac: bytes, deadline_ns: int = 0) -> bool:
        """Whether `mac` is the HMAC; the token compares."""
        return self._run(partial(self._verify_mac, call, mac), deadline_ns)

    def encrypt(
        self, key: KeyVersion, plaintext: bytes, associated_data: bytes, deadline_ns: int = 0
    ) -> bytes:
        """12 bytes of IV, the ciphertext, 16 bytes of tag (AES-256-GCM)."""
        return self._run(partial(self._encrypt, key, plaintext, associated_data), deadline_ns)

    def decrypt(self, key: KeyVersion, blob: bytes, associated_data: bytes, deadline_ns: int = 0) -> bytes:
        """The plaintext of what `encrypt` returned. Raises: SigningError bad-ciphertext, besides others."""
        return self._run(partial(self._decrypt, key, blob, associated_data), deadline_ns)

    def generate(self, name: str) -> KeyVersion:
        """A new version of a configured key, made by the token."""
        return self._run(partial(self._make, name, making.generate))

    def import_key(self, name: str, material: bytes) -> KeyVersion:
        """A new version from PKCS#8 DER, or from the bytes of an HMAC or AES key."""
        return self._run(partial(self._make, name, partial(making.import_key, material=material)))

    def retire(self, name: str, number: int) -> None:
        """From now on the token itself refuses to sign, encrypt or wrap with this version."""
        self._run(partial(self._retire, name, number))

    def wrap(self, name: str, number: int) -> bytes:
        """The version, wrapped by the key that its configuration names; `unwrap` takes it back."""
        return self._run(partial(self._wrap, name, number))

    def unwrap(self, name: str, blob: bytes) -> KeyVersion:
        """A new version from what `wrap` returned. Raises: SigningError bad-ciphertext, besides others."""
        return self._run(partial(self._unwrap, name, blob))

    def survey(self) -> None:
        """Finds all configured keys anew."""
        self._run(self._token.survey)

    def close(self) -> None:
        """Gives the session back; one that is in an undefined state is worth nothing any more."""
        session, self._session = self._session, None
        self._objects.clear()
        if session is not None:
            with contextlib.suppress(PKCS11Error):
                session.close()

    # The way back -----------------------------------------------------------------------------------------

    def _run(self, do: Callable[[], _T], deadline_ns: int = 0) -> _T:
        token = self._token
        if token.latched is not None:
            raise token.latched
        breaker = token.breaker
        if not breaker.is_closed and not breaker.admits(time.monotonic()):
            raise faults.busy()
        try:
            if self._session is None:
                self._open()
            result = do()
        except PKCS11Error as error:
            return self._recovered(error, do, deadline_ns)
        if not breaker.is_spotless:
            breaker.succeeded()
        return result

    def _recovered(self, first: PKCS11Error, do: Callable[[], _T], deadline_ns: int) -> _T:
        error = first
        for attempt in range(_TRIES):
            self._mend(error, attempt, deadline_ns)
            try:
                if self._session is None:
                    self._open()
                result = do()
            except PKCS11Error as another:
                error = another
                continue
            self._token.breaker.succeeded()
            return result
        self.close()
        match faults.cure_of(error):
            case Cure.ANOTHER_TRY:
                self._token.breaker.failed(time.monotonic())
                raise faults.busy() from None
            case Cure.NONE | Cure.OPERATOR:
                raise self._token.judged(error) from None
        # What new sessions and logins do not mend, a new start of the library may.
        raise NeedsReset from None

    def _mend(self, error: PKCS11Error, attempt: int, deadline_ns: int) -> None:
        """Does what makes another try worth it. Raises where none is."""
        # After any error the session is undefined on some tokens, whatever the error says.
        self.close()
        cure = faults.cure_of(error)
        if cure in (Cure.NONE, Cure.OPERATOR):
            raise self._token.judged(error) from None
        if not self._patient:
            raise Troubled from None
        if deadline_ns and time.monotonic_ns() > deadline_ns:
            raise faults.unavailable(error) from None
        match cure:
            case Cure.RESET:
                raise NeedsReset from None
            case Cure.ANOTHER_TRY:
                time.sleep(pause_s(attempt, random.random()))
            case Cure.LOGIN:
                self._log_in(attempt)

    def _log_in(self, attempt: int) -> None:
        try:
            self._token.log_in_again(self._login)
        except PKCS11Error as error:
            match faults.cure_of(error):
                case Cure.NONE:
                    raise self._token.judged(error) from None
                case Cure.RESET:
                    raise NeedsReset from None
            time.sleep(pause_s(attempt, random.random()))

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _open(self) -> None:
        self._login = self._token.login_count
        self._session = self._token.session()

    # What is done with the session ------------------------------------------------------------------------

    def _object(self, key: KeyVersion) -> Any:
        if self._objects_of is not self._token.keys:
            self._objects, self._objects_of = {}, self._token.keys
        found = self._objects.get(key)
        if found is None:
            found = self._objects[key] = self._found(key)
        return found

    def _found(self, key: KeyVersion) -> Any:
        token = self._token
        config = token.config.keys.get(key.key)
        # By number: a version that was retired meanwhile is another value, and may still be read and checked.
        numbers = [each.number for each in token.keys.get(key.key, ())]
        if config is not None and key.number in numbers and objects.is_of(key, config):
            found = objects.find(self._session, key.key, config, key.number, objects.object_class(key.type))
            if found is not None:
                return found
            # It was there when the token was opened. A lost token looks like this with some modules.
            raise NeedsReset
        raise token.problems.get(key.key) or SigningError(
            "key-missing",
            f"version {key.number} of {key.key} is no longer on the token",
            advice="put it back, or use another version",
        )

    def _sign(self, call: TokenCall) -> bytes:
        mechanism, parameter = parameters.mechanism(call)
        found = self._object(call.key)
        try:
            sign = found.sign
        except AttributeError:  # python-pkcs11 leaves out what the object's attributes do not allow
            raise version_retired(call.key.key, call.key.number) from None
        return bytes(sign(call.data, mechanism=mechanism, mechanism_param=parameter))

    def _verify_mac(self, call: TokenCall, mac: bytes) -> bool:
        mechanism, _ = parameters.mechanism(call)
        found = self._object(call.key)
        if not hasattr(found, "verify"):
            raise _not_allowed(call.key, "CKA_VERIFY")
        return bool(found.verify(call.data, mac, mechanism=mechanism))

    def _encrypt(self, key: KeyVersion, plaintext: bytes, associated_data: bytes) -> bytes:
        if not self._token.wants_empty_iv:
            try:
                return gcm.encrypt(self._encryptor(key), os.urandom(gcm.IV_BYTES), plaintext, associated_data)
            except gcm.IV_REFUSED:
                self._reopen()
        blob = gcm.encrypt_with_its_iv(self._encryptor(key), plaintext, associated_data)
        self._token.wants_empty_iv = True
        return blob

    def _encryptor(self, key: KeyVersion) -> Callable[..., bytes]:
        found = self._object(key)
        if not hasattr(found, "encrypt"):
            raise version_retired(key.key, key.number)
        encrypt: Callable[..., bytes] = found.encrypt
        return encrypt

    def _decrypt(self, key: KeyVersion, blob: bytes, associated_data: bytes) -> bytes:
        found = self._object(key)
        if not hasattr(found, "decrypt"):
            raise _not_allowed(key, "CKA_DECRYPT")
        try:
            return gcm.decrypt(found.decrypt, blob, associated_data)
        except gcm.NOT_OPENED:
            self._must_answer()
            raise _bad_ciphertext() from None

    def _must_answer(self) -> None:
        """Where an error may mean a bad input or a lost token: one that answers in a new session is not lost.

        Raises: PKCS11Error.
        """
        self._reopen()
        self._session.generate_random(8)

    def _make(self, name: str, make: Callable[..., None]) -> KeyVersion:
        with self._token.changing:
            return self._next_version(name, make)

    def _next_version(self, name: str, make: Callable[..., None]) -> KeyVersion:
        config = self._configured(name)
        number = len(self._token.keys.get(name, ())) + 1
        if config.id is not None and number > 1:
            raise SigningError(
                "unsupported",
                f"{name} is found by its CKA_ID, and such a key has one version",
                advice=f"set label in [signer.keys.{name}] instead of id",
            )
        if objects.find(self._session, name, config, number, objects.object_class_of(config)) is not None:
            raise self._token.problems.get(name) or SigningError(
                "key-unfit", f"the token has such an object already: {name}", advice="reload secretsd-signer"
            )
        make(self._session, name, config, number)
        self._token.find_again(self._session, name)
        return self._token.keys[name][-1]

    def _retire(self, name: str, number: int) -> None:
        key = self._version(name, number)
        with self._token.changing:
            making.retire(self._object(key), key)
            self._token.find_again(self._session, name)

    def _wrap(self, name: str, number: int) -> bytes:
        key = self._version(name, number)
        wrapping_key = self._wrapping_versions(name)[-1]
        found = self._object(wrapping_key)
        if not hasattr(found, "wrap_key"):
            raise version_retired(wrapping_key.key, wrapping_key.number)
        return wrapping.wrap(found, self._object(key), key, self._token.key_wrap())

    def _unwrap(self, name: str, blob: bytes) -> KeyVersion:
        # A blob does not say which version wrapped it: a backup outlives the newest one.
        for key in reversed(self._wrapping_versions(name)):
            found = self._object(key)
            if not hasattr(found, "unwrap_key"):
                continue
            how = {"wrapping_key": found, "mechanism": self._token.key_wrap(), "blob": blob}
            try:
                return self._make(name, partial(wrapping.unwrap, **how))
            except wrapping.NotUnwrappedError:
                self._must_answer()
        raise wrapping.bad_blob()

    def _wrapping_versions(self, name: str) -> tuple[KeyVersion, ...]:
        wrapping_name = self._configured(name).wrapped_by or ""
        versions = self._token.keys.get(wrapping_name, ())
        if not versions:
            raise self._token.problems.get(wrapping_name) or SigningError(
                "key-missing", f"{name} has no key to be wrapped with", advice="set wrapped_by"
            )
        return versions

    def _configured(self, name: str) -> SigningKey:
        found = self._token.config.keys.get(name)
        if found is None:
            raise SigningError(
                "unknown-key", f"{name} is no longer configured", advice="see secretsctl keys list"
            )
        return found

    def _version(self, name: str, number: int) -> KeyVersion:
        for key in self._token.keys.get(name, ()):
            if key.number == number:
                return key
        raise self._token.problems.get(name) or SigningError(
            "unknown-version", f"{name} has no version {number}", advice="secretsctl keys list"
        )


def _not_allowed(key: KeyVersion, attribute: str) -> SigningError:
    return SigningError(
        "key-unfit",
        f"version {key.number} of {key.key} does not have {attribute} on the token",
        advice="set it with the token's own tools, or use a key that secretsd made",
    )


def _bad_ciphertext() -> SigningError:
    return SigningError(
        "bad-ciphertext",
        "the ciphertext was not made by this key version with this associated data, or was altered",
    )
