"""Facts of an X.509 certificate as Envoy shows them.

Owns the reading (by `cryptography`) and the texts. Refuses to judge: `verify.py` does.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import UTC, datetime
from functools import cached_property
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_MILLISECONDS: Final = "%Y-%m-%dT%H:%M:%S.000Z"


class Certificate:
    """One certificate; every fact is worked out when it is first asked for."""

    def __init__(self, der: bytes) -> None:
        """Raises ValueError where it is none."""
        self.der = der
        self.x509 = x509.load_der_x509_certificate(der)

    @cached_property
    def subject(self) -> str:
        """The subject (RFC 2253)."""
        return self.x509.subject.rfc4514_string()

    @cached_property
    def issuer(self) -> str:
        """The issuer (RFC 2253)."""
        return self.x509.issuer.rfc4514_string()

    @cached_property
    def serial(self) -> str:
        """The serial number in hexadecimal."""
        text = f"{self.x509.serial_number:x}"
        return text if len(text) % 2 == 0 else "0" + text

    @cached_property
    def sans(self) -> tuple[tuple[str, bytes], ...]:
        """(kind, value) of every subject alternative name: DNS, URI, EMAIL, IP_ADDRESS."""
        try:
            names = self.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return ()
        except ValueError:  # an extension that does not parse names nobody
            return ()
        return tuple(each for name in names.value if (each := _san(name)) is not None)

    def sans_of(self, kind: str) -> list[str]:
        """The names of one kind."""
        return [value.decode("latin-1") for each, value in self.sans if each == kind]

    @cached_property
    def fingerprint_256(self) -> str:
        """SHA-256 of it in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def fingerprint_1(self) -> str:
        """SHA-1 of it in hexadecimal: a name, not a protection."""
        return self.x509.fingerprint(SHA1()).hex()  # noqa: S303

    @cached_property
    def spki_digest(self) -> bytes:
        """SHA-256 of its public key."""
        key = self.x509.public_key()
        info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(info).digest()

    @cached_property
    def url_encoded_pem(self) -> str:
        """PEM, percent-encoded as headers take it."""
        return quote(self.x509.public_bytes(Encoding.PEM).decode(), safe="-_.~")

    @property
    def valid_from(self) -> datetime:
        """When it becomes valid."""
        return self.x509.not_valid_before_utc

    @property
    def valid_until(self) -> datetime:
        """When it expires."""
        return self.x509.not_valid_after_utc

    @property
    def valid_from_text(self) -> str:
        """When it becomes valid, as access logs show it."""
        return self.valid_from.strftime(_MILLISECONDS)

    @property
    def valid_until_text(self) -> str:
        """When it expires, as access logs show it."""
        return self.valid_until.strftime(_MILLISECONDS)

    def days_until_expiration(self, now: datetime | None = None) -> int:
        """Whole days; 0 where it has expired."""
        left = self.valid_until - (now or datetime.now(UTC))
        return max(0, left.days)


def _san(name: x509.GeneralName) -> tuple[str, bytes] | None:
    if isinstance(name, x509.DNSName):
        return "DNS", name.value.encode("latin-1", "replace")
    if isinstance(name, x509.UniformResourceIdentifier):
        return "URI", name.value.encode("latin-1", "replace")
    if isinstance(name, x509.RFC822Name):
        return "EMAIL", name.value.encode("latin-1", "replace")
    if isinstance(name, x509.IPAddress) and isinstance(
        name.value, ipaddress.IPv4Address | ipaddress.IPv6Address
    ):
        return "IP_ADDRESS", str(name.value).encode()
    return None


def load_chain(pem: bytes) -> list[Certificate]:
    """The certificates of a PEM file in their order. Raises ValueError where there is none."""
    return [
        Certificate(each.public_bytes(Encoding.DER))
        for each in x509.load_pem_x509_certificates(pem)
    ]
