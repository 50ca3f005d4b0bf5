"""TLS at both ends: the same handshakes, headers, log lines and counters as Envoy."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tcp import TcpPair, tcp_listener, tcp_proxy
from tests.parity.tls import (
    TlsUpstream,
    by_host_cluster,
    client_context,
    downstream_tls,
    http_chain,
    secure_cluster,
    tls_certificate,
    tls_connect,
    tls_play,
    upstream_tls,
)
from tests.support.certificates import make, revocation_list
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.toolchains import need
from tests.support.upstreams import Peer, RecordingUpstream, ScriptedUpstream

# OpenSSL does not tell Python the curve and the signature; how many bytes of answers are read at
# once is chance.
# Envoy lets a client close first that has read an answer with `connection: close`.
IGNORED = r".*\.ssl\.(curves|sigalgs)\..*|.*_bytes_buffered|.*_bytes_total|.*delayed_close_timeout"

DEPTH = r"_at_depth_\d+"  # of a chain that is not trusted; Python does not say


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls")
    authority = make("ca")
    authority.write(path, "ca")
    stranger = make("stranger ca")
    stranger.write(path, "stranger-ca")
    make("a", authority, sans=["DNS:a.example", "URI:spiffe://td/a"]).write(path, "a")
    make("b", authority, sans=["DNS:b.example", "DNS:*.w.example"]).write(path, "b")
    make("client", authority, sans=["URI:spiffe://td/client", "DNS:client.example"]).write(
        path, "client"
    )
    make("other", authority, sans=["URI:spiffe://td/other"]).write(path, "other")
    revoked = make("revoked", authority, sans=["URI:spiffe://td/client"])
    revoked.write(path, "revoked")
    make("expired", authority, sans=["URI:spiffe://td/client"], days=-1).write(path, "expired")
    make("stranger", stranger, sans=["URI:spiffe://td/client"]).write(path, "stranger")
    (path / "crl").write_bytes(revocation_list(authority, revoked))
    return path


@pytest.fixture(scope="module")
def upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as each:
        yield each


@pytest.fixture(scope="module")
def secure(directory: Path) -> Iterator[TlsUpstream]:
    each = TlsUpstream(tls_play(directory, "b"))
    yield each
    each.stop()


@pytest.fixture(scope="module")
def pair(directory: Path, upstream: RecordingUpstream, secure: TlsUpstream) -> Iterator[TcpPair]:
    trusted = {"filename": str(directory / "ca.crt")}
    shown = {"tls_certificates": [tls_certificate(directory, "a")]}
    mutual = {
        **shown,
        "validation_context": {
            "trusted_ca": trusted,
            "crl": {"filename": str(directory / "crl")},
            "match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"exact": "spiffe://td/client"}}
            ],
        },
    }
    details = "{subject: true, uri: true, dns: true, cert: true, chain: true}"
    old = tls_play(directory, "b")
    old.minimum_version = ssl.TLSVersion.TLSv1_3
    newer = TlsUpstream(old)
    echo = ScriptedUpstream(lambda peer: [peer.send(data) for data in iter(peer.read_some, b"")])
    names = [{"san_type": "DNS", "matcher": {"exact": "x.w.example"}}]
    wrong = [{"san_type": "DNS", "matcher": {"exact": "other.example"}}]
    listeners = [
        http_chain(directory, "main", {**shown, "alpn_protocols": ["http/1.1"]}),
        http_chain(
            directory,
            "mutual",
            mutual,
            "forward_client_cert_details: SANITIZE_SET\n"
            f"set_current_client_cert_details: {details}",
            require_client_certificate=True,
        ),
        http_chain(
            directory,
            "append",
            {**shown, "validation_context": {"trusted_ca": trusted}},
            "forward_client_cert_details: APPEND_FORWARD\n"
            "set_current_client_cert_details: {uri: true}",
        ),
        http_chain(directory, "alpn", {**shown, "alpn_protocols": ["h2", "http/1.1"]}),
        http_chain(
            directory,
            "old",
            {**shown, "tls_params": {"tls_maximum_protocol_version": "TLSv1_2"}},
        ),
        tcp_listener(
            "tcp",
            [
                {
                    "filters": [tcp_proxy("tcp", cluster="echo")],
                    "transport_socket": downstream_tls(shown),
                }
            ],
        ),
    ]
    clusters = [
        cluster("up", [upstream.port]),
        cluster("echo", [echo.port]),
        secure_cluster(
            directory,
            "secure",
            secure.port,
            {"trusted_ca": trusted, "match_typed_subject_alt_names": names},
            sni="x.w.example",
        ),
        secure_cluster(
            directory,
            "wrong-san",
            secure.port,
            {"trusted_ca": trusted, "match_typed_subject_alt_names": wrong},
        ),
        secure_cluster(
            directory,
            "untrusted",
            secure.port,
            {"trusted_ca": {"filename": str(directory / "stranger-ca.crt")}},
        ),
        {
            **secure_cluster(directory, "auto", secure.port, {"trusted_ca": trusted}),
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3"
                    ".HttpProtocolOptions",
                    "explicit_http_config": {"http_protocol_options": {}},
                    "upstream_http_protocol_options": {
                        "auto_sni": True,
                        "auto_san_validation": True,
                    },
                }
            },
        },
        secure_cluster(directory, "plaintext", echo.port, {"trusted_ca": trusted}),
        secure_cluster(directory, "old", newer.port, {"trusted_ca": trusted}),
        by_host_cluster(directory, secure.port, {"trusted_ca": trusted}),
    ]
    try:
        with TcpPair(bootstrap(listeners, clusters), ignored=IGNORED, not_logged=DEPTH) as both:
            yield both
    finally:
        newer.stop()
        echo.stop(check=False)


def ask(client: ssl.SSLSocket, target: str = "/", *fields: str) -> tuple[int, bytes]:
    """Status and body of one answer, which has a length or ends the connection."""
    client.sendall(http_request(target, *fields, "connection: close"))
    data = b""
    while piece := client.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head[9:12]), body


@pytest.mark.parametrize(
    ("listener_name", "version"),
    [("main", ssl.TLSVersion.TLSv1_3), ("main", ssl.TLSVersion.TLSv1_2),
     ("old", ssl.TLSVersion.TLSv1_2)],
)  # fmt: skip
def test_a_request_over_tls(
    pair: TcpPair, directory: Path, upstream: RecordingUpstream, listener_name: str,
    version: ssl.TLSVersion,
) -> None:  # fmt: skip
    def talk(proxy: ProxyProcess) -> object:
        context = client_context(directory, version=version, alpn=("h3", "http/1.1"))
        with tls_connect(proxy, context, name="A.example", listener=listener_name) as client:
            alpn = client.selected_alpn_protocol()
            answer = ask(client)
            request = upstream.take()
            return alpn, client.cipher(), answer, request.get("x-forwarded-proto")

    seen = pair.check(talk)
    assert seen.result[3] == "https"


def test_a_version_that_is_not_spoken_is_refused_and_counted(
    pair: TcpPair, directory: Path
) -> None:
    def talk(proxy: ProxyProcess) -> str:
        context = client_context(directory, version=ssl.TLSVersion.TLSv1_3)
        try:
            with tls_connect(proxy, context, listener="old"):
                return "connected"
        except ssl.SSLError as error:
            return str(error.reason)

    seen = pair.check(talk, log_lines=0)
    assert seen.result == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert seen.stats["listener.old.ssl.connection_error"] == 1


def test_plain_bytes_on_a_tls_listener_are_refused_and_counted(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bool:
        with socket.create_connection(("127.0.0.1", proxy.ports["main"]), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            data = b""
            try:
                while piece := client.recv(100):
                    data += piece
            except ConnectionResetError:
                pass
            return not data.startswith(b"HTTP")

    seen = pair.check(talk, log_lines=0)
    assert seen.stats["listener.main.ssl.connection_error"] == 1


def test_a_client_shows_who_it_is(
    pair: TcpPair, directory: Path, upstream: RecordingUpstream
) -> None:
    def talk(proxy: ProxyProcess) -> object:
        context = client_context(directory, certificate="client")
        with tls_connect(proxy, context, listener="mutual") as client:
            status, _ = ask(client, "/", "x-forwarded-client-cert: By=liar")
            request = upstream.take()
            return status, request.values("x-forwarded-client-cert")

    status, (element,) = pair.check(talk).result
    assert status == 200
    assert element.startswith("By=spiffe://td/a;Hash=")
    assert ';Cert="-----BEGIN' in element
    assert element.endswith(';Subject="CN=client";URI=spiffe://td/client;DNS=client.example')


@pytest.mark.parametrize("certificate", ["client", ""])
def test_an_element_is_appended_where_the_client_has_a_certificate(
    pair: TcpPair, directory: Path, upstream: RecordingUpstream, certificate: str
) -> None:
    def talk(proxy: ProxyProcess) -> object:
        context = client_context(directory, certificate=certificate)
        with tls_connect(proxy, context, listener="append") as client:
            ask(client, "/", "x-forwarded-client-cert: By=before")
            return upstream.take().values("x-forwarded-client-cert")

    values = pair.check(talk).result
    assert (values != []) is bool(certificate)


@pytest.mark.parametrize(
    ("certificate", "counter"),
    [
        ("", "fail_verify_no_cert"), ("other", "fail_verify_san"),
        ("stranger", "fail_verify_error"), ("expired", "fail_verify_error"),
        ("revoked", "fail_verify_error"),
    ],
)  # fmt: skip
def test_a_client_that_may_not_come_is_refused_and_counted(
    pair: TcpPair, directory: Path, certificate: str, counter: str
) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        context = client_context(directory, certificate=certificate)
        try:
            with tls_connect(proxy, context, listener="mutual") as client:
                client.sendall(http_request("/"))
                return client.recv(100)
        except (ssl.SSLError, OSError):
            return b""

    seen = pair.check(talk, log_lines=0)
    assert seen.result == b""
    assert seen.stats[f"listener.mutual.ssl.{counter}"] == 1


def test_a_host_over_tls_with_the_right_name(pair: TcpPair, directory: Path) -> None:
    def talk(proxy: ProxyProcess) -> object:
        with tls_connect(proxy, client_context(directory)) as client:
            return ask(client, "/secure")

    seen = pair.check(talk)
    assert seen.result == (200, b"ok")
    assert "|CN=b|CN=ca|" in seen.log[0]


def test_a_host_is_asked_for_and_checked_by_its_own_name(pair: TcpPair, directory: Path) -> None:
    def talk(proxy: ProxyProcess) -> object:
        with tls_connect(proxy, client_context(directory)) as client:
            return ask(client, "/by-host")

    assert pair.check(talk).result == (200, b"ok")


@pytest.mark.parametrize(
    ("host", "sni", "status"),
    [
        ("x.w.example:8443", "x.w.example", 200), ("b.example", "b.example", 200),
        ("other.example", "other.example", 503), ("127.0.0.1:1", None, 503),
    ],
)  # fmt: skip
def test_the_requests_host_is_whom_tls_asks_for(
    pair: TcpPair, directory: Path, secure: TlsUpstream, host: str, sni: str | None, status: int
) -> None:
    def talk(proxy: ProxyProcess) -> object:
        secure.names.clear()
        with tls_connect(proxy, client_context(directory)) as client:
            client.sendall(http_request("/auto", "connection: close", host=host))
            return client.recv(12), list(secure.names)

    seen = pair.check(talk)
    assert seen.result == (b"HTTP/1.1 %d" % status, [sni])


def test_http_1_is_offered_to_a_host_by_itself(
    pair: TcpPair, directory: Path, secure: TlsUpstream
) -> None:
    def talk(proxy: ProxyProcess) -> object:
        secure.protocols.clear()
        with tls_connect(proxy, client_context(directory)) as client:
            client.sendall(http_request("/auto", "connection: close", host="c.w.example"))
            return client.recv(12), list(secure.protocols)

    assert pair.check(talk).result == (b"HTTP/1.1 200", ["http/1.1"])


@pytest.mark.parametrize("target", ["/wrong-san", "/untrusted", "/plaintext", "/old"])
def test_a_host_that_cannot_be_trusted_is_a_503(
    pair: TcpPair, directory: Path, target: str
) -> None:
    def talk(proxy: ProxyProcess) -> object:
        with tls_connect(proxy, client_context(directory)) as client:
            return ask(client, target)

    seen = pair.check(talk)
    assert seen.result[0] == 503
    assert "|UF|" in seen.log[0]
    assert "|up=TLS_error:|" in seen.log[0]


def test_tcp_over_tls_ends_one_side_after_the_other(pair: TcpPair, directory: Path) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        sent = bytes(range(256)) * 256
        with tls_connect(proxy, client_context(directory), listener="tcp") as client:
            for _ in range(16):
                # One after the other: a thread beside this one may not touch the same TLS session.
                client.sendall(sent)
                received = bytearray()
                while len(received) < len(sent):
                    piece = client.recv(len(sent) - len(received))
                    assert piece, "the proxy has closed"
                    received += piece
                assert received == sent
            client.unwrap()
        return b"closed"

    pair.check(talk)


def test_curl_speaks_mutual_tls(
    pair: TcpPair, directory: Path, upstream: RecordingUpstream
) -> None:
    need("curl")

    def talk(proxy: ProxyProcess) -> object:
        port = proxy.ports["mutual"]
        command = ["curl", "-sS", "--http1.1", "--resolve", f"a.example:{port}:127.0.0.1"]
        command += ["--cacert", "ca.crt", "--cert", "client.crt", "--key", "client.key"]
        done = subprocess.run(
            [*command, f"https://a.example:{port}/x"],
            capture_output=True,
            cwd=directory,
            timeout=30,
        )
        upstream.take()
        return done.returncode, done.stdout, done.stderr

    assert pair.check(talk).result == (0, b"ok", b"")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_client_takes_up_its_session_again(
    pair: TcpPair, directory: Path, version: str
) -> None:
    need("openssl")

    def talk(proxy: ProxyProcess) -> list[bool]:
        port = proxy.ports["main"]
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-ign_eof"]
        command += ["-CAfile", "ca.crt"]
        if version == "-tls1_2":  # of ciphers that BoringSSL likes equally the client chooses
            command += ["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]
        request = http_request("/probe", "connection: close")
        reused = []
        for session in ("-sess_out", "-sess_in"):
            done = subprocess.run(
                [*command, session, "session"], input=request, capture_output=True,
                cwd=directory, timeout=10,
            )  # fmt: skip
            assert b"HTTP/1.1 200 OK" in done.stdout
            assert b"Verify return code: 0 (ok)" in done.stdout
            reused.append(b"Reused, " in done.stdout)
        return reused

    seen = pair.check(talk, log_lines=2)
    assert seen.result == [False, True]
    assert seen.stats["listener.main.ssl.session_reused"] == 1


def test_certificates_are_listed_and_their_end_is_known(pair: TcpPair) -> None:
    listed = {kind: side.admin("/certs") for kind, side in pair.sides.items()}
    assert _sorted(listed["meshproxy"]) == _sorted(listed["envoy"])
    names = [name for name in pair.sides["envoy"].counters() if name.endswith("_time_seconds")]
    names.append("server.days_until_first_cert_expiring")
    values = {kind: [side.counters()[n] for n in names] for kind, side in pair.sides.items()}
    assert values["meshproxy"] == values["envoy"]


def _sorted(listed: str) -> list[str]:
    return sorted({json.dumps(each, sort_keys=True) for each in json.loads(listed)["certificates"]})


@pytest.mark.parametrize(
    ("flag", "version"), [("--http2", b"2"), ("--http1.1", b"1.1"), ("--no-alpn", b"1.1")]
)
def test_curl_gets_the_protocol_that_both_agree_on(
    pair: TcpPair, directory: Path, upstream: RecordingUpstream, flag: str, version: bytes
) -> None:
    need("curl")

    def talk(proxy: ProxyProcess) -> object:
        port = proxy.ports["alpn"]
        command = ["curl", "-sS", flag, "--resolve", f"a.example:{port}:127.0.0.1"]
        command += ["--cacert", "ca.crt", "-w", "%{http_version}"]
        done = subprocess.run(
            [*command, f"https://a.example:{port}/x"],
            capture_output=True,
            cwd=directory,
            timeout=30,
        )
        request = upstream.take()
        return done.stdout, done.stderr, request.values("x-forwarded-proto")

    assert pair.check(talk).result == (b"ok" + version, b"", ["https"])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_with_a_host_is_taken_up_again(directory: Path, version: ssl.TLSVersion) -> None:
    context = tls_play(directory, "b")
    context.minimum_version = context.maximum_version = version
    reused: list[bool | None] = []

    def play(peer: Peer) -> None:
        with context.wrap_socket(peer.socket, server_side=True) as secure:
            reused.append(secure.session_reused)
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            secure.recv(1)

    with ScriptedUpstream(play) as host:
        common = {
            "validation_context": {"trusted_ca": {"filename": str(directory / "ca.crt")}},
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        }
        up = {**cluster("up", [host.port]), "transport_socket": upstream_tls(common)}
        plain = listener("main", virtual_host("- match: {prefix: /}\n  route: {cluster: up}"))
        with TcpPair(bootstrap([plain], [up]), ignored=IGNORED) as both:
            for proxy in both.sides.values():
                reused.clear()
                for _ in range(3):
                    with RawClient(proxy.ports["main"]) as client:
                        client.send(http_request("/"))
                        assert client.read_answer().status == 200
                assert reused == [False, True, True]
                assert proxy.counters()["cluster.up.ssl.session_reused"] == 2
