"""Properties of TLS on both sides of the proxy, as Envoy gives them."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from tests.conformance.harness import ROUTER, Plugin, Side, renumbered
from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tls import (
    client_context,
    downstream_tls,
    tls_certificate,
    tls_connect,
    upstream_tls,
)
from tests.support.certificates import make
from tests.support.raw_client import http_request
from tests.support.upstreams import Peer, RecordingUpstream, ScriptedUpstream

NAMES = (
    "tls_version", "subject_local_certificate", "subject_peer_certificate",
    "dns_san_local_certificate", "dns_san_peer_certificate", "uri_san_local_certificate",
    "uri_san_peer_certificate", "sha256_peer_certificate_digest",
)  # fmt: skip
PROPERTIES = (
    *(f"connection%00{name}" for name in ("mtls", "requested_server_name", *NAMES)),
    *(f"upstream%00{name}" for name in NAMES),
)
READ = ";".join(f"proxy_get_property|{path}" for path in PROPERTIES)
PROGRAM = "^".join(f"{phase}={READ}" for phase in ("request_headers", "response_headers", "log"))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls")
    authority = make("ca")
    authority.write(path, "ca")
    two = ["DNS:a.example", "DNS:a2.example", "URI:spiffe://td/a", "URI:spiffe://td/a2"]
    make("a", authority, sans=two).write(path, "a")
    make("b", authority, sans=["DNS:b.example", "URI:spiffe://td/b"]).write(path, "b")
    sans = ["URI:spiffe://td/client", "DNS:client.example"]
    make("client", authority, sans=sans).write(path, "client")
    make("bare", authority).write(path, "bare")
    return path


def secure_upstream(directory: Path) -> ScriptedUpstream:
    """It wants a certificate of its client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "b.crt", directory / "b.key")
    context.load_verify_locations(directory / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(peer: Peer) -> None:
        with context.wrap_socket(peer.socket, server_side=True) as secure:
            while secure.recv(65536):
                secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    return ScriptedUpstream(serve)


def configuration(directory: Path, plain: int, secure: int) -> str:
    """`main` wants a certificate of its client, `open` takes what it gets; `/b` goes on in TLS."""
    trusted: dict[str, Any] = {"trusted_ca": {"filename": str(directory / "ca.crt")}}
    shown = {"tls_certificates": [tls_certificate(directory, "a")]}
    routes = virtual_host(
        "- match: {prefix: /b}\n  route: {cluster: b}\n- match: {prefix: /}\n  route: {cluster: up}"
    )
    listeners = []
    for name, more in (("main", {"validation_context": trusted}), ("open", {})):
        made = listener(name, routes, http_filters=[Plugin().filter()], router=ROUTER)
        made["filter_chains"][0]["transport_socket"] = downstream_tls(
            {**shown, **more}, require_client_certificate=name == "main"
        )
        listeners.append(made)
    own = {"tls_certificates": [tls_certificate(directory, "client")]}
    onward = {
        **cluster("b", [secure]),
        "transport_socket": upstream_tls({**own, "validation_context": trusted}, sni="b.example"),
    }
    return bootstrap(listeners, [cluster("up", [plain]), onward])


@pytest.fixture(scope="module")
def sides(directory: Path) -> Iterator[list[Side]]:
    secure = secure_upstream(directory)
    with ExitStack() as stack:
        stack.callback(secure.stop, check=False)
        plain = stack.enter_context(RecordingUpstream())
        yaml = configuration(directory, plain.port, secure.port)
        found = []
        for kind in ("envoy", "meshproxy"):
            side = Side(kind, yaml, plain)
            stack.callback(side.proxy.stop)
            side.start()
            found.append(side)
        yield found


def seen(
    side: Side,
    directory: Path,
    listener_name: str,
    certificate: str,
    target: str,
    program: str = PROGRAM,
) -> list[str]:
    context = client_context(directory, certificate=certificate)
    with tls_connect(side.proxy, context, name="a.example", listener=listener_name) as client:
        client.sendall(http_request(target, f"x-probe: {program}", "connection: close"))
        data = b"".join(iter(lambda: client.recv(65536), b""))
    assert data.startswith(b"HTTP/1.1 200")
    lines = side.wait(lambda lines: any(line.startswith("probe delete ") for line in lines))
    return [line for line in renumbered(lines) if "proxy_get_property" in line]


@pytest.mark.parametrize("target", ["/", "/b"])
@pytest.mark.parametrize(
    ("listener_name", "certificate"),
    [("main", "client"), ("main", "bare"), ("open", "")],
    ids=["mutual", "certificate without names", "no certificate"],
)
def test_certificates_versions_and_names(
    sides: list[Side], directory: Path, listener_name: str, certificate: str, target: str
) -> None:
    envoy, ours = (seen(side, directory, listener_name, certificate, target) for side in sides)
    assert len(envoy) == 3 * len(PROPERTIES)
    assert ours == envoy


def test_the_wait_for_a_connection_is_known_once_there_is_one(
    sides: list[Side], directory: Path
) -> None:
    read = "proxy_get_property|upstream%00cx_pool_ready_duration"
    program = f"request_headers={read}^response_headers={read}^log={read}"
    for side in sides:
        lines = seen(side, directory, "open", "", "/b", program)
        answers = [line.partition(") ")[2] for line in lines]
        assert [answer[:1] for answer in answers] == ["1", "0", "0"], (side.kind, lines)
        assert all(len(unquote_to_bytes(each[2:].strip("'"))) == 8 for each in answers[1:])
