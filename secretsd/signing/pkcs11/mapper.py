"""Attributes of new objects: exactly those that are named, none by default."""

from __future__ import annotations

from pkcs11 import Attribute
from pkcs11.attributes import AttributeMapper


class Mapper(AttributeMapper):
    """python-pkcs11's own adds ENCRYPT, VERIFY and WRAP to private keys: tokens refuse to unwrap those."""

    def generic_key_template(self, base_template, **_):  # type: ignore[no-untyped-def]
        return {Attribute.TOKEN: True, **base_template}

    def public_key_template(self, **_):  # type: ignore[no-untyped-def]
        return {Attribute.TOKEN: True}

    private_key_template = secret_key_template = public_key_template
