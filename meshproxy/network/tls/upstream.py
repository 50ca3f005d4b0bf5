"""TLS of a cluster: `UpstreamTlsContext` at run time.

Owns server name, session resumption, the judgement of hosts' certificates and its counters. Refuses
to know pools and records.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.network.tls.certificate import Certificate, load_chain
from meshproxy.network.tls.config import UpstreamTlsConfig, ValidationConfig
from meshproxy.network.tls.context import client_context
from meshproxy.network.tls.info import TlsInfo
from meshproxy.network.tls.socket import TlsSocket
from meshproxy.network.tls.stats import SslCounters
from meshproxy.network.tls.verify import refusal
from meshproxy.stats.connection_metrics import SslSocketFactoryStats
from meshproxy.stats.store import Scope

if TYPE_CHECKING:
    from meshproxy.network.connection import Connection

_NO_VALIDATION = ValidationConfig()


class UpstreamTls:
    """The transport socket of one cluster. Raises ssl.SSLError where it cannot be built."""

    def __init__(self, config: UpstreamTlsConfig, scope: Scope) -> None:
        self.config = config
        self.counters = SslCounters(scope)
        self.socket_stats = scope.scope("client_ssl_socket_factory.").block(SslSocketFactoryStats)
        if config.secrets.sds_names:
            self.socket_stats.ssl_context_update_by_sds.value += 1
        self.leaf: Certificate | None = None
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._sessions: dict[tuple[str, ssl.SSLContext], ssl.SSLSession] = {}
        self._build(config)

    def _build(self, config: UpstreamTlsConfig) -> None:
        contexts = {config.alpn: client_context(config)}
        for certificate in config.secrets.certificates:
            chain = load_chain(certificate.chain)
            self.leaf = chain[0]
            self.counters.expirations("cert", certificate.name, chain)
        validation = config.secrets.validation
        if validation is not None and validation.trusted_ca is not None:
            self.counters.expirations("ca_cert", validation.name, load_chain(validation.trusted_ca))
        self._contexts = contexts
        self._sessions.clear()  # a session belongs to its context

    def _context(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        """The context that offers these protocols."""
        context = self._contexts.get(alpn)
        if context is None:
            context = client_context(dataclasses.replace(self.config, alpn=alpn))
            self._contexts[alpn] = context
        return context

    def replace(self, config: UpstreamTlsConfig) -> None:
        """Use other certificates from the next handshake on. Raises ssl.SSLError."""
        self._build(config)
        self.config = config
        self.socket_stats.ssl_context_update_by_sds.value += 1

    def start(
        self,
        connection: Connection,
        server_name: str,
        alpn: tuple[str, ...],
        done: Callable[[str | None], Callable[[bytes], None] | None],
    ) -> Callable[[bytes], None]:
        """Begin. `done(None)` when it has succeeded returns who takes the bytes; else
        `done(reason)`. `alpn` is offered.
        """
        name = server_name or self.config.sni
        handshake = _Handshake(self, connection, name, done)
        context = self._context(alpn)
        session = self._sessions.get((name, context))

        def wrap(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
            return context.wrap_bio(
                incoming, outgoing, server_hostname=name or None, session=session
            )

        return connection.start_tls(lambda lower: TlsSocket(connection, lower, wrap, handshake))

    def keep_session(self, name: str, tls: ssl.SSLObject) -> None:
        """Take up this session next time, where that is allowed and it can be."""
        session, key = tls.session, (name, tls.context)
        if not self.config.max_session_keys or session is None:
            return
        if tls.context not in self._contexts.values():
            return  # the certificates have changed meanwhile
        if len(self._sessions) >= self.config.max_session_keys and key not in self._sessions:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[key] = session


class _Handshake:
    """One handshake (`socket.End`)."""

    __slots__ = ("_connection", "_done", "_end", "_name")

    def __init__(
        self,
        end: UpstreamTls,
        connection: Connection,
        name: str,
        done: Callable[[str | None], Callable[[bytes], None] | None],
    ) -> None:
        self._end = end
        self._connection = connection
        self._name = name
        self._done = done

    def opened(self, socket: TlsSocket) -> Callable[[bytes], None] | None:
        """It is done: look at the host, then hand over."""
        end = self._end
        info = TlsInfo(socket.tls, end.leaf, self._name)
        refused = self._refusal(info)
        if refused:
            end.counters.refused(refused)
            self._connection.close_after_flush(False)
            expected = self._name if end.config.auto_sni_san_validation else ""
            self._done(_refused(refused, info.peer, expected))
            return None
        end.counters.handshake(info)
        self._connection.tls = info
        end.keep_session(self._name, socket.tls)
        return self._done(None)

    def _refusal(self, info: TlsInfo) -> str:
        config = self._end.config
        validation = config.secrets.validation or _NO_VALIDATION
        try:
            peer = info.peer
        except ValueError:
            return "fail_verify_error"
        if peer is None:
            return "fail_verify_no_cert" if validation is not _NO_VALIDATION else ""
        name = self._name.encode() if config.auto_sni_san_validation and self._name else None
        return refusal(validation, peer, name)

    def failed(self, error: ssl.SSLError | None) -> None:
        """It has failed."""
        self._end.counters.failed(error)
        self._done(_reason(error))

    def closed(self, tls: ssl.SSLObject) -> None:
        """The connection is gone; in TLS 1.3 its session came after the handshake."""
        self._end.keep_session(self._name, tls)


# Reasons of BoringSSL; an alert of the peer is 1000 and its number (RFC 8446, 6).
_REASONS: Final = {
    "CERTIFICATE_VERIFY_FAILED": 125, "HTTP_REQUEST": 155, "NO_SHARED_CIPHER": 184,
    "UNEXPECTED_MESSAGE": 223, "UNSUPPORTED_PROTOCOL": 240, "WRONG_VERSION_NUMBER": 247,
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": 1010, "SSLV3_ALERT_BAD_RECORD_MAC": 1020,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": 1040, "SSLV3_ALERT_BAD_CERTIFICATE": 1042,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": 1043, "SSLV3_ALERT_CERTIFICATE_REVOKED": 1044,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": 1045, "SSLV3_ALERT_CERTIFICATE_UNKNOWN": 1046,
    "SSLV3_ALERT_ILLEGAL_PARAMETER": 1047, "TLSV1_ALERT_UNKNOWN_CA": 1048,
    "TLSV1_ALERT_ACCESS_DENIED": 1049, "TLSV1_ALERT_DECODE_ERROR": 1050,
    "TLSV1_ALERT_DECRYPT_ERROR": 1051, "TLSV1_ALERT_PROTOCOL_VERSION": 1070,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": 1071, "TLSV1_ALERT_INTERNAL_ERROR": 1080,
    "TLSV1_UNRECOGNIZED_NAME": 1112, "TLSV1_ALERT_CERTIFICATE_REQUIRED": 1116,
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": 1120,
}  # fmt: skip
_LIBRARY: Final = 0x10000000
_VERIFY_FAILED: Final = "CERTIFICATE_VERIFY_FAILED"


def reason_text(name: str, details: str = "") -> str:
    """A failure as Envoy words it; a reason that BoringSSL does not have is number 0."""
    code = _LIBRARY | _REASONS.get(name, 0)
    more = f":verify cert failed: {details}" if details else ""
    return f"TLS_error:|{code}:SSL routines:OPENSSL_internal:{name}{more}:TLS_error_end"


def _refused(counter: str, peer: Certificate | None, expected: str) -> str:
    names = ", ".join(v.decode("latin-1") for _, v in peer.sans) if peer is not None else ""
    names = f"[{names}]"
    details = {
        "fail_verify_san": (
            f"verify SAN list, expected SANs: [{expected}], certificate SANs: {names}"
            if expected
            else f"SAN matcher, certificate SANs are {names}"
        ),
        "fail_verify_cert_hash": "cert hash and spki",
    }
    return reason_text(_VERIFY_FAILED, details.get(counter, "no certificate"))


def _reason(error: ssl.SSLError | None) -> str:
    if error is None:
        return ""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message
        return reason_text(
            _VERIFY_FAILED, f"X509_verify_cert: certificate verification error: {text}"
        )
    name = (error.reason or "UNKNOWN").replace("TLSV13_ALERT", "TLSV1_ALERT")
    return reason_text(name)
