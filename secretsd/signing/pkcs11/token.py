"""The token: its library, the login that all sessions share, and the configured keys found on it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pkcs11 import Mechanism
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn

from secretsd.config.signer import Signer
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyVersion
from secretsd.signing.pkcs11 import faults, objects, wrapping
from secretsd.signing.pkcs11.breaker import Breaker
from secretsd.signing.pkcs11.capabilities import Capabilities, look
from secretsd.signing.pkcs11.faults import Cure
from secretsd.signing.pkcs11.lane import Lane
from secretsd.signing.pkcs11.library import LockingLibrary
from secretsd.signing.pkcs11.mapper import Mapper
from secretsd.signing.pkcs11.pin import how_to_change, is_handed_out_once, read_pin

_TRIES = 3


class Token:
    """One token. `open`, `reset` and `configure` are for one thread at a time; lanes may run meanwhile only
    where it is said."""

    def __init__(self, config: Signer) -> None:
        self.config = config
        self.keys: Mapping[str, tuple[KeyVersion, ...]] = MappingProxyType({})  # oldest version first
        self.problems: Mapping[str, SigningError] = MappingProxyType({})  # keys that cannot be used
        self.capabilities: Capabilities | None = None  # of the token when it was last looked at
        self.breaker = Breaker()
        self.latched: SigningError | None = None  # a PIN was refused: until `unlock`
        self.login_count = 0
        self._library: LockingLibrary | None = None
        self._token: Any = None
        self._holder: Any = None  # the session that logged in; never closed, or all would be logged out
        self._login_lock = threading.Lock()
        self._telling = threading.Lock()  # held to change `config`, `keys` and `problems` together
        # Held while a key is changed: two that were made at once would both be the next version.
        self.changing = threading.Lock()
        self.wants_empty_iv = False  # learned from the token: see gcm.py

    def open(self) -> None:
        """Loads the module, logs in, finds the keys. May be called again after it failed.

        Raises: SigningError. A PIN is tried once.
        """
        if self.latched is not None:
            raise self.latched
        pin = read_pin(self.config.pin)
        try:
            self._token = self._find_token(self._load())
            self._log_in(pin)
            self.survey()
        except PKCS11Error as error:
            raise self.judged(error) from None

    def reset(self) -> None:
        """C_Finalize, then as `open`. No call may be under way; all sessions end. Raises: SigningError."""
        self.close()
        self.open()

    def close(self) -> None:
        """C_Finalize; errors of a token that is lost do not matter any more."""
        self._holder = self._token = None
        if self._library is not None:
            with contextlib.suppress(PKCS11Error):
                self._library.finalize()
            self._library = None

    def key_wrap(self) -> Mechanism:
        """By which mechanism the token that is open wraps keys. Raises: PKCS11Error."""
        return wrapping.mechanism_among(self._token.slot.get_mechanisms())

    def unlock(self) -> None:
        """Lets the PIN be tried again, once: by the next `open` or `reset`.

        Raises: SigningError pin-locked where that could only be the PIN that was refused: tokens lock
        themselves after a few.
        """
        if self.latched is not None and is_handed_out_once(self.config.pin):
            raise self.latched
        self.latched = None

    def configure(self, config: Signer) -> None:
        """Another table of keys; `survey` then finds them.

        What a name meant before is forgotten at once: whoever may use it now need not have had that key.
        """

        def stays(name: str, versions: tuple[KeyVersion, ...]) -> bool:
            return name in config.keys and all(objects.is_of(each, config.keys[name]) for each in versions)

        with self._telling:
            self.config = config
            kept = {name: versions for name, versions in self.keys.items() if stays(name, versions)}
            self.keys = MappingProxyType(kept)

    def lane(self, *, patient: bool = True) -> Lane:
        """A way to the token for one thread at a time; without `patient` it recovers from nothing."""
        return Lane(self, patient=patient)

    def session(self) -> Any:
        """A session of the pool: read-write, which CloudHSM insists on, and without a login of its own.

        Raises: PKCS11Error.
        """
        return self._token.open(rw=True, attribute_mapper=Mapper())

    def log_in_again(self, seen_login: int) -> None:
        """After UserNotLoggedIn: of many threads that see it one logs in. A refused PIN is latched before the
        next thread looks, or each would use up a try of the few that a token has.

        Raises: SigningError, PKCS11Error.
        """
        with self._login_lock:
            if self.latched is not None:
                raise self.latched
            if self.login_count != seen_login:
                return
            try:
                self._log_in(read_pin(self.config.pin))
            except PKCS11Error as error:
                if faults.cure_of(error) is Cure.OPERATOR:
                    raise self.judged(error) from None
                raise

    def judged(self, error: PKCS11Error) -> SigningError:
        """What is said of an error that is not mended here; a refused PIN latches."""
        match faults.cure_of(error):
            case Cure.OPERATOR:
                self.latched = faults.pin_locked(error, how_to_change(self.config.pin, "the right PIN"))
                return self.latched
            case Cure.NONE:
                return faults.refused(error)
        return faults.unavailable(error)

    def find_again(self, session: Any, name: str) -> None:
        """Reads the versions of one key from the token anew, after it was changed; for who holds `changing`.

        Raises: SigningError key-missing, key-ambiguous, key-unfit; PKCS11Error.
        """
        config = self.config
        found = tuple(objects.versions(session, name, config.keys[name]))
        with self._telling:
            if self.config is not config:  # a reload came in between, and a survey comes after it
                return
            self.keys = MappingProxyType({**self.keys, name: found})
            self.problems = MappingProxyType(
                {key: problem for key, problem in self.problems.items() if key != name}
            )

    def _load(self) -> LockingLibrary:
        if self._library is not None:
            return self._library
        if not Path(self.config.module).is_file():
            raise _no_module(self.config, "there is no such file")
        try:
            self._library = LockingLibrary(str(self.config.module))
        except (PKCS11Error, OSError, AttributeError) as error:
            if isinstance(error, PKCS11Error) and faults.is_from_the_module(error):
                raise
            raise _no_module(self.config, f"it cannot be loaded ({type(error).__name__})") from None
        return self._library

    def _find_token(self, library: LockingLibrary) -> Any:
        found = []
        for slot in library.get_slots(token_present=True):
            with contextlib.suppress(PKCS11Error):
                token = slot.get_token()
                is_it = slot.slot_id == self.config.slot or token.label == self.config.token
                if is_it:
                    found.append(token)
        if len(found) == 1:
            return found[0]
        what = f"slot {self.config.slot}" if self.config.token is None else f"the label {self.config.token}"
        # A library that was loaded before the token was there does not see it.
        self.close()
        raise SigningError(
            "token-missing",
            f"the module has {len(found) or 'no'} token{'s' if len(found) > 1 else ''} with {what}",
            advice=f"correct token or slot in [signer]; pkcs11-tool --module {self.config.module} -L",
        )

    def _log_in(self, pin: str) -> None:
        for attempt in range(_TRIES):
            try:
                self._holder = self._token.open(rw=True, user_pin=pin, attribute_mapper=Mapper())
                break
            except UserAlreadyLoggedIn:
                break
            except PKCS11Error as error:
                is_last = attempt == _TRIES - 1
                if is_last or faults.cure_of(error) not in (Cure.ANOTHER_TRY, Cure.NEW_SESSION):
                    raise
        self.login_count += 1

    def survey(self) -> None:
        """Looks at the token, and finds every configured key, while none is changed. Raises: PKCS11Error."""
        with self.changing:
            self._survey()

    def _survey(self) -> None:
        self.capabilities = look(self._library, self._token, self.config)
        session = self.session()
        try:
            while not self._surveyed(session, self.config):
                pass  # a reload came in between
        finally:
            with contextlib.suppress(PKCS11Error):
                session.close()

    def _surveyed(self, session: Any, config: Signer) -> bool:
        """Whether the keys of `config` were found, and it is still the configuration."""
        keys: dict[str, tuple[KeyVersion, ...]] = {}
        problems: dict[str, SigningError] = {}
        for name, key in config.keys.items():
            try:
                keys[name] = tuple(objects.versions(session, name, key))
            except SigningError as error:
                problems[name] = error
        with self._telling:
            if self.config is not config:
                return False
            self.keys, self.problems = MappingProxyType(keys), MappingProxyType(problems)
        return True


def _no_module(config: Signer, why: str) -> SigningError:
    return SigningError(
        "module-missing",
        f"the PKCS#11 module {config.module} cannot be used: {why}",
        advice="install the token's library, or correct module in [signer]",
    )
