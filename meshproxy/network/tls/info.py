"""Facts of one TLS connection, for logs, headers, matchers and properties.

Owns their names (those of Envoy's attributes where it has one) and works each out when it is first
asked for. Refuses to judge.
"""

from __future__ import annotations

import ssl
from functools import cached_property

from meshproxy.network.tls.certificate import Certificate


class TlsInfo:
    """The facts. `peer` and `local` are the leaf certificates, None where an end showed none."""

    def __init__(self, tls: ssl.SSLObject, local: Certificate | None, server_name: str) -> None:
        self._tls = tls
        self.local = local
        self.server_name = server_name
        self.transport_failure_reason = ""

    @cached_property
    def peer(self) -> Certificate | None:
        """The certificate that the peer has shown."""
        der = self._tls.getpeercert(binary_form=True)
        return Certificate(der) if der else None

    @cached_property
    def peer_chain(self) -> list[Certificate]:
        """All certificates that the peer has shown, its own first."""
        inner = getattr(self._tls, "_sslobj", None)
        chain = inner.get_unverified_chain() if inner is not None else None
        if not chain:
            return [] if self.peer is None else [self.peer]
        return [Certificate(ssl.PEM_cert_to_DER_cert(each.public_bytes())) for each in chain]

    @cached_property
    def tls_version(self) -> str:
        """`TLSv1.3`"""
        return self._tls.version() or ""

    @cached_property
    def cipher(self) -> str:
        """The cipher suite by the name that OpenSSL and Envoy use."""
        found = self._tls.cipher()
        return found[0] if found is not None else ""

    @cached_property
    def alpn(self) -> str:
        """The application protocol that both agreed on, empty for none."""
        return self._tls.selected_alpn_protocol() or ""

    @cached_property
    def session_id(self) -> str | None:
        """The session's id in hexadecimal; TLS 1.3 has none that is worth showing."""
        session = self._tls.session
        if session is None or not session.id or self.tls_version == "TLSv1.3":
            return None
        return session.id.hex()

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was taken up again."""
        return bool(self._tls.session_reused)

    # -- Envoy's attributes (`connection.*`); without a certificate some are empty, others None ----

    @property
    def subject_local_certificate(self) -> str:
        """Our subject."""
        return "" if self.local is None else self.local.subject

    @property
    def subject_peer_certificate(self) -> str:
        """The peer's subject."""
        return "" if self.peer is None else self.peer.subject

    @property
    def dns_san_local_certificate(self) -> str | None:
        """Our first DNS name."""
        return _first(self.local, "DNS")

    @property
    def dns_san_peer_certificate(self) -> str | None:
        """The peer's first DNS name."""
        return _first(self.peer, "DNS")

    @property
    def uri_san_local_certificate(self) -> str | None:
        """Our first URI."""
        return _first(self.local, "URI")

    @property
    def uri_san_peer_certificate(self) -> str | None:
        """The peer's first URI."""
        return _first(self.peer, "URI")

    @property
    def sha256_peer_certificate_digest(self) -> str | None:
        """SHA-256 of the peer's certificate."""
        return None if self.peer is None else self.peer.fingerprint_256


def _first(certificate: Certificate | None, kind: str) -> str | None:
    names = certificate.sans_of(kind) if certificate is not None else []
    return names[0] if names else None
