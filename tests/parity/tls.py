"""TLS clients for the parity tests, and the YAML of transport sockets; knows no case."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.processes import ProxyProcess

_PACKAGE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


def tls_certificate(directory: Path, name: str) -> dict[str, Any]:
    """A `TlsCertificate` of two files."""
    return {
        "certificate_chain": {"filename": str(directory / f"{name}.crt")},
        "private_key": {"filename": str(directory / f"{name}.key")},
    }


def _socket(kind: str, common: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": _PACKAGE + kind, "common_tls_context": common, **fields},
    }


def downstream_tls(common: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The transport socket of a filter chain."""
    return _socket("DownstreamTlsContext", common, **fields)


def upstream_tls(common: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The transport socket of a cluster."""
    return _socket("UpstreamTlsContext", common, **fields)


def secret(directory: Path, name: str, certificate: str) -> str:
    """An SDS file with one certificate."""
    return (
        f'resources:\n- "@type": {_PACKAGE}Secret\n  name: {name}\n  tls_certificate:\n'
        f"    certificate_chain: {{filename: {directory}/{certificate}.crt}}\n"
        f"    private_key: {{filename: {directory}/{certificate}.key}}\n"
    )


def client_context(
    directory: Path,
    *,
    certificate: str = "",
    alpn: tuple[str, ...] = (),
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    """A client that trusts `ca.crt` and speaks this version only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(directory / "ca.crt")
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(directory / f"{certificate}.crt", directory / f"{certificate}.key")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@contextmanager
def tls_connect(
    proxy: ProxyProcess,
    context: ssl.SSLContext,
    *,
    name: str | None = None,
    listener: str = "main",
    session: ssl.SSLSession | None = None,
    before: bytes = b"",
) -> Iterator[ssl.SSLSocket]:
    """A TLS connection to a listener; `before` is sent in the clear."""
    plain = socket.create_connection(("127.0.0.1", proxy.ports[listener]), timeout=5)
    with plain:
        if before:
            plain.sendall(before)
        with context.wrap_socket(plain, server_hostname=name, session=session) as client:
            yield client


def common_name(client: ssl.SSLSocket) -> str:
    """Of the certificate that the proxy has shown."""
    subject: Any = (client.getpeercert() or {}).get("subject", ())
    return dict(pair for part in subject for pair in part).get("commonName", "")
