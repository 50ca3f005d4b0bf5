"""The command operators about TLS: versions, ciphers, certificates of both connections.

Owns the list. Refuses to know TLS: the facts are a `network.tls.info.TlsInfo`, met by its names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.time_format import compile_time_format

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo

Operator = Callable[["StreamInfo"], Any]
Maker = Callable[[str | None], Operator]
Facts = Callable[["StreamInfo"], Any]


def _downstream(info: StreamInfo) -> Any:
    return None if info.connection is None else info.connection.tls


def _upstream(info: StreamInfo) -> Any:
    return info.upstream_tls


def _plain(operator: Operator) -> Maker:
    def make(argument: str | None) -> Operator:
        if argument is not None:
            raise ValueError("takes no argument")
        return operator

    return make


def _of_connection(facts: Facts, name: str) -> Maker:
    def value(info: StreamInfo) -> Any:
        tls = facts(info)
        return None if tls is None else getattr(tls, name) or None

    return _plain(value)


def _of_certificate(facts: Facts, whose: str, read: Callable[[Any], Any]) -> Maker:
    def value(info: StreamInfo) -> Any:
        tls = facts(info)
        certificate = getattr(tls, whose) if tls is not None else None
        return None if certificate is None else read(certificate) or None

    return _plain(value)


def _moment(facts: Facts, name: str) -> Maker:
    """`(FORMAT)`: strftime and Envoy's fractions."""

    def make(argument: str | None) -> Operator:
        render = compile_time_format(argument or "")

        def value(info: StreamInfo) -> Any:
            tls = facts(info)
            peer = tls.peer if tls is not None else None
            return None if peer is None else render(getattr(peer, name).timestamp())

        return value

    return make


def _names(kind: str) -> Callable[[Any], str]:
    return lambda certificate: ",".join(certificate.sans_of(kind))


_CERTIFICATE: Final[dict[str, Callable[[Any], Any]]] = {
    "SUBJECT": lambda certificate: certificate.subject,
    "URI_SAN": _names("URI"),
    "DNS_SAN": _names("DNS"),
    "IP_SAN": _names("IP_ADDRESS"),
    "EMAIL_SAN": _names("EMAIL"),
}
_PEER: Final[dict[str, Callable[[Any], Any]]] = {
    **_CERTIFICATE,
    "ISSUER": lambda certificate: certificate.issuer,
    "SERIAL": lambda certificate: certificate.serial,
    "FINGERPRINT_256": lambda certificate: certificate.fingerprint_256,
    "FINGERPRINT_1": lambda certificate: certificate.fingerprint_1,
    "CERT": lambda certificate: certificate.url_encoded_pem,
}


def _operators(side: str, facts: Facts) -> dict[str, Maker]:
    return {
        f"{side}_TLS_VERSION": _of_connection(facts, "tls_version"),
        f"{side}_TLS_CIPHER": _of_connection(facts, "cipher"),
        f"{side}_TLS_SESSION_ID": _of_connection(facts, "session_id"),
        f"{side}_PEER_CERT_V_START": _moment(facts, "valid_from"),
        f"{side}_PEER_CERT_V_END": _moment(facts, "valid_until"),
        **{
            f"{side}_PEER_{name}": _of_certificate(facts, "peer", read)
            for name, read in _PEER.items()
        },
        **{
            f"{side}_LOCAL_{name}": _of_certificate(facts, "local", read)
            for name, read in _CERTIFICATE.items()
        },
    }


TLS_OPERATORS: Final[dict[str, Maker]] = {
    **_operators("DOWNSTREAM", _downstream),
    **_operators("UPSTREAM", _upstream),
}
