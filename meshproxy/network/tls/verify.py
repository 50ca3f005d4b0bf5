"""What `ssl` does not check of a peer's certificate: names and pins.

Owns the rules (Envoy's DefaultCertValidator). Refuses to know chains: OpenSSL has followed them
already.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from meshproxy.network.tls.certificate import Certificate
from meshproxy.network.tls.config import SanMatcher, ValidationConfig

# Which counter a refusal moves.
FAIL_VERIFY_NO_CERT: Final = "fail_verify_no_cert"
FAIL_VERIFY_SAN: Final = "fail_verify_san"
FAIL_VERIFY_CERT_HASH: Final = "fail_verify_cert_hash"
FAIL_VERIFY_ERROR: Final = "fail_verify_error"


def refusal(validation: ValidationConfig, certificate: Certificate, name: bytes | None) -> str:
    """The counter of what is wrong with a peer's leaf; empty where nothing is.

    `name` is one that its names have to have besides (`auto_san_validation`).
    """
    if any(b"\0" in value for _, value in certificate.sans):
        # Whoever reads it as text would see another name than whoever signed it.
        return FAIL_VERIFY_SAN
    if validation.san_matchers and not any_san_matches(validation.san_matchers, certificate):
        return FAIL_VERIFY_SAN
    if name is not None and not has_name(certificate, name):
        return FAIL_VERIFY_SAN
    if validation.hashes or validation.spki:
        is_pinned = (
            bytes.fromhex(certificate.fingerprint_256) in validation.hashes
            or certificate.spki_digest in validation.spki
        )
        if not is_pinned:
            return FAIL_VERIFY_CERT_HASH
    return ""


def any_san_matches(matchers: Sequence[SanMatcher], certificate: Certificate) -> bool:
    """Whether one name satisfies one matcher of its kind."""
    return any(
        _matches(matcher, value)
        for kind, value in certificate.sans
        for matcher in matchers
        if matcher.kind == kind
    )


def _matches(matcher: SanMatcher, value: bytes) -> bool:
    if matcher.kind == "DNS" and matcher.exact is not None:
        return dns_name_matches(matcher.exact, value)
    return matcher.matches(value)


def has_name(certificate: Certificate, name: bytes) -> bool:
    """Whether a certificate is for a host name or an IP address."""
    try:
        ip = str(ipaddress.ip_address(name.decode("ascii"))).encode()
    except ValueError:
        return any(
            kind == "DNS" and dns_name_matches(name, value) for kind, value in certificate.sans
        )
    return ("IP_ADDRESS", ip) in certificate.sans


def dns_name_matches(name: bytes, pattern: bytes) -> bool:
    """Whether a host name is, in any case, the one of a certificate, or of its `*.` wildcard.

    The wildcard is the whole first label, stands for exactly one, and leaves at least two.
    """
    name, pattern = name.lower(), pattern.lower()
    if name == pattern:
        return True
    if not pattern.startswith(b"*.") or pattern.count(b".") < 2:
        return False
    label, dot, rest = name.partition(b".")
    return bool(label) and bool(dot) and rest == pattern[2:]
