"""A certificate authority for the lab, and the bad certificates that a server may show."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

_NOW = datetime.now(UTC)
_YEAR = timedelta(days=365)
_HERE = ("localhost", "127.0.0.1")


class Certificate(Enum):
    """What a server shows; all but the first are to be turned away."""

    GOOD = "good"
    UNTRUSTED = "untrusted"  # signed by an authority that nobody has heard of
    EXPIRED = "expired"
    WRONG_NAME = "wrong-name"  # good, but of another host


class Authority:
    """Makes all certificates once, in `folder`; `ca_file` is what a client is to trust."""

    def __init__(self, folder: Path) -> None:
        ours, other = _Signer("Lab CA"), _Signer("Nobody's CA")
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(ours.certificate.public_bytes(serialization.Encoding.PEM))
        self._contexts = {
            Certificate.GOOD: ours.context(folder, "good", _HERE, ends=_NOW + _YEAR),
            Certificate.UNTRUSTED: other.context(folder, "untrusted", _HERE, ends=_NOW + _YEAR),
            Certificate.EXPIRED: ours.context(folder, "expired", _HERE, ends=_NOW - timedelta(days=1)),
            Certificate.WRONG_NAME: ours.context(
                folder, "wrong-name", ("elsewhere.example",), ends=_NOW + _YEAR
            ),
        }

    def context(self, certificate: Certificate) -> ssl.SSLContext:
        """For the server's side of a connection."""
        return self._contexts[certificate]


class _Signer:
    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            _builder(self._name, self._name, ends=_NOW + _YEAR)
            .public_key(self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, SHA256())
        )

    def context(self, folder: Path, name: str, hosts: tuple[str, ...], *, ends: datetime) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        certificate = (
            _builder(self._name, subject, ends=ends)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
            .sign(self._key, SHA256())
        )
        path = folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _builder(issuer: x509.Name, subject: x509.Name, *, ends: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(_NOW, ends) - _YEAR)
        .not_valid_after(ends)
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
