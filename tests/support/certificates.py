"""Makes certificates when a test needs them; nothing of them is kept anywhere."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

_DAY: Final = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate and its key."""

    x509: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.x509.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.x509.public_bytes(Encoding.DER)

    @property
    def key(self) -> bytes:
        """The key."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def encrypted_key(self, password: bytes) -> bytes:
        """The key, which needs the password."""
        return self.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
        )

    def pkcs12(self, password: bytes) -> bytes:
        """Both, which need the password."""
        return pkcs12.serialize_key_and_certificates(
            b"x", self.private, self.x509, None, BestAvailableEncryption(password)
        )

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Both as files; a file that is there is replaced at once."""
        paths = directory / f"{name}.crt", directory / f"{name}.key"
        for path, data in zip(paths, (self.pem, self.key), strict=True):
            fresh = path.with_suffix(path.suffix + ".new")
            fresh.write_bytes(data)
            fresh.replace(path)
        return paths


def make(
    name: str,
    issuer: Made | None = None,
    *,
    sans: Sequence[str] = (),
    days: int = 30,
    raw_san: bytes | None = None,
) -> Made:
    """A certificate of `issuer`, or an authority of its own where there is none.

    `sans` are `DNS:x`, `URI:x` or `IP:x`; `raw_san` is a DNS name of any bytes.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.x509.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + (days + 0.5) * _DAY)  # no test runs until the day changes
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
    )
    if sans:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_san(each) for each in sans]), critical=False
        )
    elif raw_san is not None:
        name_der = b"\x82" + bytes([len(raw_san)]) + raw_san
        value = b"\x30" + bytes([len(name_der)]) + name_der
        oid = x509.ObjectIdentifier("2.5.29.17")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return Made(builder.sign(issuer.private if issuer else key, hashes.SHA256()), key)


def _san(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "DNS":
        return x509.DNSName(value)
    if kind == "URI":
        return x509.UniformResourceIdentifier(value)
    return x509.IPAddress(ipaddress.ip_address(value))


def revocation_list(issuer: Made, *revoked: Made) -> bytes:
    """A CRL of `issuer` in PEM."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.x509.subject)
        .last_update(now - _DAY)
        .next_update(now + _DAY)
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.x509.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(now - _DAY).build())
    return builder.sign(issuer.private, hashes.SHA256()).public_bytes(Encoding.PEM)
