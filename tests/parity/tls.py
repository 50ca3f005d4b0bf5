"""TLS clients and hosts for the parity tests, and the YAML of transport sockets; knows no case."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.parity.config import cluster, listener, virtual_host
from tests.support.processes import ProxyProcess
from tests.support.upstreams import Peer, ScriptedUpstream

_PACKAGE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
TLS_LOG: Final = (
    "AL|%RESPONSE_CODE%|%RESPONSE_FLAGS%|%DOWNSTREAM_TLS_VERSION%|%DOWNSTREAM_TLS_CIPHER%"
    "|%DOWNSTREAM_PEER_SUBJECT%|%DOWNSTREAM_PEER_ISSUER%|%DOWNSTREAM_PEER_URI_SAN%"
    "|%DOWNSTREAM_PEER_DNS_SAN%|%DOWNSTREAM_LOCAL_SUBJECT%|%DOWNSTREAM_LOCAL_DNS_SAN%"
    "|%DOWNSTREAM_LOCAL_URI_SAN%|%DOWNSTREAM_PEER_FINGERPRINT_1%|%DOWNSTREAM_PEER_FINGERPRINT_256%"
    "|%DOWNSTREAM_PEER_SERIAL%|%DOWNSTREAM_PEER_CERT_V_START%|%DOWNSTREAM_PEER_CERT_V_END(%Y)%"
    "|%DOWNSTREAM_PEER_CERT%|%REQUESTED_SERVER_NAME%|%UPSTREAM_TLS_VERSION%|%UPSTREAM_TLS_CIPHER%"
    "|%UPSTREAM_PEER_SUBJECT%|%UPSTREAM_PEER_ISSUER%|up=%UPSTREAM_TRANSPORT_FAILURE_REASON%"
    "|%RESPONSE_CODE_DETAILS%\n"
)


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


def tls_play(directory: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
    return context


class TlsUpstream:
    """A TLS server that answers every request with its name of the client's wish (SNI)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.names: list[str | None] = []
        self.protocols: list[str | None] = []
        context.sni_callback = lambda tls, name, _: self.names.append(name)
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._context = context
        self._server = ScriptedUpstream(self._serve)
        self.port = self._server.port

    def _serve(self, peer: Peer) -> None:
        try:
            with self._context.wrap_socket(peer.socket, server_side=True) as secure:
                self.protocols.append(secure.selected_alpn_protocol())
                while secure.recv(65536):
                    secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (ssl.SSLError, OSError):
            pass  # what the proxy does to it is the test's business

    def stop(self) -> None:
        self._server.stop()


def http_chain(directory: Path, name: str, common: dict, options: str = "", **fields) -> dict:
    routes = "".join(
        f"- match: {{prefix: /{each}}}\n  route: {{cluster: {each}}}\n"
        for each in ("secure", "wrong-san", "untrusted", "plaintext", "old", "by-host", "auto")
    )
    hosts = virtual_host(f"{routes}- match: {{prefix: /}}\n  route: {{cluster: up}}")
    made = listener(
        name, hosts, options=options, log_format={"text_format_source": {"inline_string": TLS_LOG}}
    )
    made["filter_chains"][0]["transport_socket"] = downstream_tls(common, **fields)
    return made


def secure_cluster(directory: Path, name: str, port: int, validation: dict, **fields) -> dict:
    return {
        **cluster(name, [port]),
        "transport_socket": upstream_tls({"validation_context": validation}, **fields),
    }


def by_host_cluster(directory: Path, port: int, validation: dict) -> dict:
    """Its `sni` is not in the certificate; the name of its host is, and is asked for."""
    made = secure_cluster(
        directory,
        "by-host",
        port,
        validation,
        sni="other.example",
        auto_host_sni=True,
        auto_sni_san_validation=True,
    )
    [locality] = made["load_assignment"]["endpoints"]
    locality["lb_endpoints"][0]["endpoint"]["hostname"] = "x.w.example"
    return made
