"""What the configuration says about TLS: everything is here as bytes, read and checked.

Owns the frozen objects. Refuses to know protos and `ssl`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

# Envoy's defaults (BoringSSL's groups of equal preference, written one after another).
DEFAULT_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
    ":ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
    ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
)


@dataclass(frozen=True, slots=True)
class CertificateConfig:
    """A certificate chain and its key in PEM, the leaf first; the key is not encrypted.

    `path` is where it came from, empty for inline data; `name` is its secret's.
    """

    chain: bytes
    key: bytes = field(repr=False)
    path: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class SanMatcher:
    """One of `match_typed_subject_alt_names`.

    `kind` is DNS, URI, EMAIL, IP_ADDRESS or OTHER_NAME; `exact` is the text of an exact matcher,
    None for any other.
    """

    kind: str
    matches: Callable[[bytes], bool]
    exact: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig:
    """`CertificateValidationContext`. `trusted_ca` and `crl` are PEM, None where not given.

    `spki` and `hashes` are SHA-256 digests: of the leaf's public key, of the leaf.
    """

    trusted_ca: bytes | None = None
    path: str = ""
    name: str = ""
    crl: bytes | None = None
    only_verify_leaf_cert_crl: bool = False
    san_matchers: tuple[SanMatcher, ...] = ()
    spki: frozenset[bytes] = frozenset()
    hashes: frozenset[bytes] = frozenset()
    allow_expired_certificate: bool = False
    accept_untrusted: bool = False


@dataclass(frozen=True, slots=True)
class TlsParameters:
    """`TlsParameters`. Versions are (3, minor): TLS 1.2 is (3, 3). `curve` empty: OpenSSL's own."""

    minimum_version: tuple[int, int] = (3, 3)
    maximum_version: tuple[int, int] = (3, 4)
    ciphers: str = DEFAULT_CIPHERS
    curve: str = ""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What may change while serving: the certificates of our end and how the peer is judged.

    `load` reads them again: the new ones, or None with the reason logged; None where nothing is
    watched. `watched` are the files whose change calls for it.
    """

    certificates: tuple[CertificateConfig, ...] = ()
    validation: ValidationConfig | None = None
    watched: tuple[str, ...] = ()
    load: Callable[[], Secrets | None] | None = None
    sds_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamTlsConfig:
    """`DownstreamTlsContext`."""

    secrets: Secrets
    parameters: TlsParameters = field(default_factory=TlsParameters)
    alpn: tuple[str, ...] = ()
    require_client_certificate: bool = False
    require_sni: bool = False
    stateless_resumption: bool = True
    prefer_client_ciphers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTlsConfig:
    """`UpstreamTlsContext`. `max_session_keys` 0: no session is resumed."""

    secrets: Secrets
    parameters: TlsParameters = field(default_factory=lambda: TlsParameters(maximum_version=(3, 3)))
    alpn: tuple[str, ...] = ()
    sni: str = ""
    auto_host_sni: bool = False
    auto_sni_san_validation: bool = False
    max_session_keys: int = 1
