"""Who a TLS peer is: whom a listener lets in by its pins and names, what the app is told
(`x-forwarded-client-cert`) and what filters are (properties). The same as by Envoy.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.filters.conftest import plugin
from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.differences import REFUSED_CERTIFICATES
from tests.parity.harness import PROXIES
from tests.parity.tls import (
    TlsUpstream,
    client_context,
    downstream_tls,
    tls_certificate,
    tls_connect,
    tls_play,
    upstream_tls,
)
from tests.support.certificates import make
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RecordingUpstream

MODES: Final = (
    "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY",
)  # fmt: skip
CLAIM: Final = "x-forwarded-client-cert: By=spiffe://td/x;Hash=ab;URI=spiffe://td/y"
FACTS: Final = (
    "tls_version", "subject_local_certificate", "subject_peer_certificate",
    "dns_san_local_certificate", "dns_san_peer_certificate", "uri_san_local_certificate",
    "uri_san_peer_certificate", "sha256_peer_certificate_digest",
)  # fmt: skip
ROUTES: Final = (
    "- match: {prefix: /secure}\n  route: {cluster: secure}\n"
    "- match: {prefix: /}\n  route: {cluster: up}"
)

Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identity")
    authority = make("ca")
    authority.write(path, "ca")
    for name in ("server", "client", "host"):
        sans = [f"DNS:{name}.example", f"DNS:{name}.other", f"URI:spiffe://td/{name}"]
        make(name, authority, sans=sans).write(path, name)
    make("nul", authority, raw_san=b"client.example\0.evil.example").write(path, "nul")
    return path


def pinned(directory: Path) -> dict[str, dict[str, Any]]:
    """Listeners by what they ask of a certificate besides that the authority has signed it."""
    made = x509.load_pem_x509_certificate((directory / "client.crt").read_bytes())
    key = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    spki = base64.b64encode(hashlib.sha256(key).digest()).decode()
    hex_digest = made.fingerprint(hashes.SHA256()).hex()
    name = {"san_type": "DNS", "matcher": {"exact": "client.example"}}
    prefix = {"san_type": "DNS", "matcher": {"prefix": "client.example"}}
    return {
        "hash": {"verify_certificate_hash": [hex_digest]},
        "hash with colons": {
            "verify_certificate_hash": [":".join(hex_digest[at : at + 2] for at in range(0, 64, 2))]
        },
        "key": {"verify_certificate_spki": [spki]},
        "another hash": {"verify_certificate_hash": ["00" * 32]},
        "either": {"verify_certificate_hash": ["00" * 32], "verify_certificate_spki": [spki]},
        "name": {"match_typed_subject_alt_names": [name]},
        "beginning of a name": {"match_typed_subject_alt_names": [prefix]},
    }


def rules() -> str:
    """Tell all of the connection to the app, and all of the upstream's to the client."""
    down = [f"request set x-{fact} {{connection.{fact}}}" for fact in FACTS]
    down.append("request set x-sni {connection.requested_server_name}")
    return "\n".join([*down, *(f"response set x-{fact} {{upstream.{fact}}}" for fact in FACTS)])


@pytest.fixture(scope="module")
def upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as app:
        yield app


@pytest.fixture(scope="module")
def proxies(directory: Path, upstream: RecordingUpstream) -> Iterator[dict[str, ProxyProcess]]:
    """One listener for each mode, over TLS; `filter` tells properties, `plain` has no TLS."""
    trusted = {"validation_context": {"trusted_ca": {"filename": str(directory / "ca.crt")}}}
    common = {"tls_certificates": [tls_certificate(directory, "server")], **trusted}
    told = [plugin("header_tag", rules())]
    listeners = [
        *(
            listener(
                mode, virtual_host(ROUTES),
                options=f"forward_client_cert_details: {mode}\n"
                "set_current_client_cert_details: {subject: true, uri: true, dns: true}",
            )
            for mode in MODES
        ),
        listener("filter", virtual_host(ROUTES), http_filters=told),
    ]  # fmt: skip
    for each in listeners:
        each["filter_chains"][0]["transport_socket"] = downstream_tls(common)
    listeners[-1]["listener_filters"] = [
        extension(
            "tls_inspector",
            "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        )
    ]
    for name, asked in pinned(directory).items():
        made = listener(name, virtual_host(ROUTES))
        validation = {**trusted["validation_context"], **asked}
        made["filter_chains"][0]["transport_socket"] = downstream_tls(
            {**common, "validation_context": validation}, require_client_certificate=True
        )
        listeners.append(made)
    listeners.append(listener("plain", virtual_host(ROUTES), http_filters=told))
    host = TlsUpstream(tls_play(directory, "host"))
    own = {"tls_certificates": [tls_certificate(directory, "client")], **trusted}
    secure = {**cluster("secure", [host.port]), "transport_socket": upstream_tls(own)}
    yaml = bootstrap(listeners, [cluster("up", [upstream.port]), secure])
    with ExitStack() as stack:
        stack.callback(host.stop)
        yield {kind: stack.enter_context(ProxyProcess(kind, yaml)) for kind in PROXIES}


def ask(
    proxy: ProxyProcess, directory: Path, name: str, certificate: str, target: str, *fields: str
) -> Any:
    """The head of the answer, read to its end."""
    context = client_context(directory, certificate=certificate)
    with tls_connect(proxy, context, name="server.example", listener=name) as client:
        client.sendall(http_request(target, *fields, "connection: close"))
        data = b""
        while piece := client.recv(65536):
            data += piece
    return data.partition(b"\r\n\r\n")[0].decode().split("\r\n")


@pytest.mark.parametrize("certificate", ["client", "server", "nul"])
@pytest.mark.parametrize(
    ("name", "certificates"),
    [
        ("hash", {"client"}), ("hash with colons", {"client"}), ("key", {"client"}),
        ("another hash", set()), ("either", {"client"}), ("name", {"client"}),
        ("beginning of a name", {"client"}),
    ],
)  # fmt: skip
def test_who_is_let_in(proxies, directory, upstream, name, certificates, certificate: str):
    counter = f"listener.{name}.ssl.fail_verify_"
    seen = {}
    for kind, proxy in proxies.items():
        before = proxy.counters()
        try:
            answered = ask(proxy, directory, name, certificate, "/")[0] == "HTTP/1.1 200 OK"
        except (ssl.SSLError, ConnectionResetError):
            answered = False
        changed = {
            each: value - before[each]
            for each, value in proxy.counters().items()
            if each.startswith(counter) and value != before[each]
        }
        seen[kind] = answered, changed
        assert len(upstream.take_all()) == answered
    if certificate in REFUSED_CERTIFICATES:
        assert seen["meshproxy"] == (False, {counter + "san": 1})
    else:
        assert seen["meshproxy"] == seen["envoy"]
    assert seen["meshproxy"][0] == (certificate in certificates)


@pytest.mark.parametrize("claim", [CLAIM, ""], ids=["claims", "claims nothing"])
@pytest.mark.parametrize("certificate", ["client", ""], ids=["certificate", "no certificate"])
@pytest.mark.parametrize("mode", MODES)
def test_what_becomes_of_the_clients_certificate(
    proxies, directory, upstream, mode: str, certificate: str, claim: str
):
    seen = {}
    for kind, proxy in proxies.items():
        ask(proxy, directory, mode, certificate, "/", *([claim] if claim else []))
        seen[kind] = upstream.take().values("x-forwarded-client-cert")
    assert seen["meshproxy"] == seen["envoy"]
    forged = mode == "ALWAYS_FORWARD_ONLY" or (mode != "SANITIZE" and bool(certificate))
    assert bool("".join(seen["envoy"])) == (forged and (bool(claim) or "FORWARD_ONLY" not in mode))


def _facts(headers: Headers) -> dict[str, str]:
    names = {f"x-{fact}" for fact in (*FACTS, "sni")}
    return {name: value for name, value in headers if name in names}


@pytest.mark.parametrize("certificate", ["client", ""], ids=["certificate", "no certificate"])
def test_a_filter_knows_the_client(proxies, directory, upstream, certificate: str):
    seen = {}
    for kind, proxy in proxies.items():
        ask(proxy, directory, "filter", certificate, "/")
        seen[kind] = _facts(upstream.take().headers)
    assert seen["meshproxy"] == seen["envoy"]
    assert seen["envoy"]["x-tls_version"] == "TLSv1.3"
    assert seen["envoy"]["x-sni"] == "server.example"
    assert ("x-uri_san_peer_certificate" in seen["envoy"]) == bool(certificate)


def test_a_filter_knows_the_host(proxies, directory):
    seen = {}
    for kind, proxy in proxies.items():
        lines = ask(proxy, directory, "filter", "client", "/secure")
        assert lines[0] == "HTTP/1.1 200 OK"
        seen[kind] = _facts([tuple(line.split(": ", 1)) for line in lines[1:]])
    assert seen["meshproxy"] == seen["envoy"]
    assert seen["envoy"]["x-uri_san_peer_certificate"] == "spiffe://td/host"


def test_without_tls_there_is_nothing_to_know(proxies, upstream):
    seen = {}
    for kind, proxy in proxies.items():
        with RawClient(proxy.ports["plain"]) as client:
            client.request(http_request("/"))
        seen[kind] = _facts(upstream.take().headers)
    assert seen["meshproxy"] == seen["envoy"]
    assert "x-tls_version" not in seen["envoy"]
