"""WebSocket and CONNECT over HTTP/1.1: the same bytes, ends, log lines and counters as Envoy."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from h2.settings import SettingCodes

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tcp import TcpPair, connect
from tests.support.http2_peers import Http2Client, Link
from tests.support.processes import ProxyProcess
from tests.support.raw_client import http_request
from tests.support.upstreams import Peer, RefusingPort, ScriptedUpstream

LOG = (
    "AL|%REQ(:METHOD)%|%PROTOCOL%|%RESPONSE_CODE%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%"
    "|rx=%BYTES_RECEIVED%|tx=%BYTES_SENT%|%UPSTREAM_HOST%|%UPSTREAM_PROTOCOL%|%ROUTE_NAME%\n"
)
WISH = ("upgrade: websocket", "connection: keep-alive, Upgrade", "sec-websocket-key: k")
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: x\r\n\r\n"
)
ANSWERS = {
    b"/ws": SWITCHED + b"first",
    b"/403": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nnope",
    b"/200": b"HTTP/1.1 200 OK\r\nx-app: 1\r\ncontent-type: a/b\r\ncontent-length: 2\r\n\r\nok",
    b"/late": b"",
}
# Who is seen to close first where both do is chance.
IGNORED = r".*_bytes_total|.*_bytes_buffered|.*delayed_close_timeout|.*flow_control.*"


def play(peer: Peer) -> None:
    """Answers a GET or POST by its path, anything else as an echo; `bye` ends its side."""
    head = peer.read_head()
    if head.startswith((b"GET", b"POST")):
        peer.send(ANSWERS[head.split()[1]])
    elif head:
        peer.send(head)
    with suppress(OSError):
        while data := peer.read_some():
            if data == b"bye":
                peer.half_close()
            else:
                peer.send(data)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(play) as each:
        yield each


@pytest.fixture(scope="module")
def pair(upstream: ScriptedUpstream) -> Iterator[TcpPair]:
    routes = """\
- match: {path: /denied}
  name: denied
  route: {cluster: up, upgrade_configs: [{upgrade_type: WebSocket, enabled: false}]}
- match: {connect_matcher: {}, headers: [{name: dead, present_match: true}]}
  route: {cluster: dead, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
- match: {connect_matcher: {}}
  name: tunnel
  route: {cluster: up, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
- match: {prefix: /}
  route: {cluster: up}
"""
    by_route = """\
- match: {prefix: /}
  route: {cluster: up, idle_timeout: 0.3s, upgrade_configs: [{upgrade_type: websocket}]}
"""
    text = {"text_format_source": {"inline_string": LOG}}
    upgrades = "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}]"
    with RefusingPort() as refusing:
        listeners = [
            listener("main", virtual_host(routes), options=upgrades, log_format=text),
            listener("by_route", virtual_host(by_route), log_format=text),
        ]
        clusters = [cluster("up", [upstream.port]), cluster("dead", [refusing.port])]
        with TcpPair(bootstrap(listeners, clusters), ignored=IGNORED) as both:
            yield both


def read_until(client: socket.socket, end: bytes) -> bytes:
    """Everything up to and with `end`, without what changes from run to run."""
    data = b""
    while not data.endswith(end):
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return without_date(data)


def without_date(data: bytes) -> bytes:
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")]
    return b"\r\n".join([lines[0], *sorted(lines[1:])]) + b"\r\n\r\n" + rest


def read_rest(client: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    return data


@pytest.mark.parametrize("name", ["main", "by_route"])
def test_a_websocket_talks_until_the_client_leaves(pair: TcpPair, name: str) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, name) as client:
            client.sendall(http_request("/ws", *WISH))
            seen = read_until(client, b"first")
            client.sendall(b"hello")
            return seen + read_until(client, b"hello")

    seen = pair.check(talk)
    assert b"\r\nconnection: Upgrade\r\n" in seen.result
    assert seen.stats[f"http.{name}.downstream_cx_upgrades_total"] == 1
    assert f"http.{name}.downstream_cx_upgrades_active" not in seen.stats


def test_a_websocket_ends_when_its_host_does(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(http_request("/ws", *WISH))
            read_until(client, b"first")
            client.sendall(b"bye")
            return read_rest(client)

    assert pair.check(talk).result == b""


@pytest.mark.parametrize("fields", [(), ("content-length: 5",)])
def test_what_comes_early_is_not_lost(pair: TcpPair, fields: tuple[str, ...]) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(http_request("/ws", *WISH, *fields) + b"early")
            return read_until(client, b"early")

    assert pair.check(talk).result.endswith(b"firstearly")


@pytest.mark.parametrize("target", ["/403", "/200"])
def test_a_host_that_does_not_switch_never_sees_what_was_meant_for_the_other_protocol(
    pair: TcpPair, upstream: ScriptedUpstream, target: str
) -> None:
    def talk(proxy: ProxyProcess) -> tuple[bytes, bool]:
        with connect(proxy) as client:
            client.sendall(http_request(target, *WISH) + b"GET /smuggled HTTP/1.1\r\n\r\n")
            answer = without_date(read_rest(client))
        return answer, b"smuggled" in upstream.received[-1]

    answer, smuggled = pair.check(talk).result
    assert b"\r\nconnection: close\r\n" in answer
    assert not smuggled


@pytest.mark.parametrize(
    ("target", "wish", "name"),
    [
        ("/denied", WISH, "main"), ("/ws", ("upgrade: other", "connection: upgrade"), "main"),
        ("/ws", ("upgrade: connect", "connection: upgrade"), "by_route"),
    ],
)  # fmt: skip
def test_a_protocol_that_is_not_let_in_is_a_403(
    pair: TcpPair, target: str, wish: tuple[str, ...], name: str
) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, name) as client:
            client.sendall(http_request(target, *wish))
            return without_date(read_rest(client))

    assert pair.check(talk).result.startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_a_silent_websocket_ends_after_the_routes_idle_timeout(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, "by_route") as client:
            client.sendall(http_request("/ws", *WISH))
            read_until(client, b"first")
            return read_rest(client)

    assert "|SI|" in pair.check(talk).log[0]


CONNECT = b"CONNECT h.example:80 HTTP/1.1\r\nhost: h.example:80\r\n\r\n"


def test_a_tunnel_carries_bytes_until_its_host_ends(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(CONNECT)
            seen = read_until(client, b"\r\n\r\n")
            client.sendall(b"PING\r\n\r\n")
            seen += read_until(client, b"PING\r\n\r\n")
            client.sendall(b"bye")
            client.settimeout(0.3)
            with suppress(TimeoutError):  # Envoy leaves it to the client to close
                seen += client.recv(100)
            return seen

    seen = pair.check(talk)
    assert seen.result.startswith(b"HTTP/1.1 200 OK\r\nserver: envoy\r\n\r\n")
    assert "|via_upstream|rx=11|tx=8|" in seen.log[0]


def test_a_tunnel_carries_what_comes_before_it_is_there(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(CONNECT + b"PING\r\n\r\n")
            return read_until(client, b"PING\r\n\r\n")

    assert b"\r\n\r\nPING" in pair.check(talk).result


def test_a_tunnel_to_nobody_is_a_503(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy) as client:
            client.sendall(CONNECT.replace(b"\r\n\r\n", b"\r\ndead: 1\r\n\r\n"))
            return without_date(read_rest(client))

    seen = pair.check(talk)
    assert seen.result.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert "|UF|" in seen.log[0]


def test_after_the_end_of_a_tunnel_nothing_is_read_as_a_request(pair: TcpPair) -> None:
    proxy = pair.sides["meshproxy"]
    requests = proxy.counters()["http.main.downstream_rq_total"]
    with connect(proxy) as client:
        client.sendall(CONNECT + b"PING\r\n\r\n")
        read_until(client, b"PING\r\n\r\n")
        client.sendall(b"bye")
        assert read_rest(client) == b""
        with suppress(OSError):
            client.sendall(http_request("/smuggled"))
    pair.skip_log("meshproxy")
    assert proxy.counters()["http.main.downstream_rq_total"] == requests + 1


def test_a_tunnel_that_no_route_wants_is_refused(pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> bytes:
        with connect(proxy, "by_route") as client:
            client.sendall(CONNECT)
            return without_date(read_rest(client))

    assert pair.check(talk).result.startswith(b"HTTP/1.1 404 Not Found\r\n")


# -- over HTTP/2 (RFC 8441) ------------------------------------------------------------------------


class Http2Echo:
    """An HTTP/2 server that grants every extended CONNECT and echoes."""

    def __init__(self, status: str = "200") -> None:
        self.seen: list[dict[str, str]] = []
        self._status = status
        self._server = ScriptedUpstream(self._serve)
        self.port = self._server.port

    def _serve(self, peer: Peer) -> None:
        link = Link(peer.socket, client=False)
        link.h2.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        link.flush()
        answered: set[int] = set()
        while link.receive():
            for stream, message in link.messages.items():
                if message.headers and stream not in answered:
                    answered.add(stream)
                    self.seen.append(dict(message.headers))
                    link.h2.send_headers(stream, [(":status", self._status)])
                    link.flush()
                if message.body and message.reset is None:
                    link.send_body(stream, message.body, end=False)
                    message.body = b""

    def stop(self) -> None:
        self._server.stop(check=False)


@pytest.fixture(scope="module")
def http2_echo() -> Iterator[Http2Echo]:
    each = Http2Echo()
    yield each
    each.stop()


@pytest.fixture(scope="module")
def http2_pair(upstream: ScriptedUpstream, http2_echo: Http2Echo) -> Iterator[TcpPair]:
    routes = """\
- match: {prefix: /two}
  route: {cluster: two}
- match: {connect_matcher: {}}
  route: {cluster: up, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
- match: {prefix: /}
  route: {cluster: up}
"""
    options = (
        "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}]\n"
        "http2_protocol_options: {allow_connect: true}"
    )
    text = {"text_format_source": {"inline_string": LOG}}
    speaks = {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3"
                ".HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}},
            }
        }
    }
    listeners = [listener("main", virtual_host(routes), options=options, log_format=text)]
    clusters = [cluster("up", [upstream.port]), {**cluster("two", [http2_echo.port]), **speaks}]
    ignored = IGNORED + r"|.*http2\..*|.*_destroy_.*|.*upstream_cx_.*"
    with TcpPair(bootstrap(listeners, clusters), ignored=ignored) as both:
        yield both


def extended(path: str, protocol: str = "websocket") -> list[tuple[str, str]]:
    return [
        (":method", "CONNECT"), (":scheme", "http"), (":authority", "h.example"), (":path", path),
        (":protocol", protocol), ("sec-websocket-version", "13"),
    ]  # fmt: skip


def talk_over_http2(
    client: Http2Client, headers: list[tuple[str, str]], data: bytes
) -> tuple[dict[str, str], bytes]:
    """The answer's headers and what comes back of `data`; then the client gives the stream up."""
    stream = client.start(headers, end=False)
    message = client.messages[stream]
    while not message.headers and not message.ended and client.receive():
        pass
    head = {name: value for name, value in message.headers if name != "date"}
    if head[":status"] == "200" and not message.ended:
        client.send_body(stream, data, end=False)
        while not message.body.endswith(data) and client.receive():
            pass
    client.h2.close_connection()
    client.flush()
    return head, message.body


@pytest.mark.parametrize(("path", "first"), [("/ws", b"first"), ("/two", b"")])
def test_a_websocket_over_http_2_is_one_of_http_1_or_2_upstream(
    http2_pair: TcpPair, path: str, first: bytes
) -> None:
    def talk(proxy: ProxyProcess) -> object:
        with Http2Client(proxy.ports["main"]) as client:
            return talk_over_http2(client, extended(path), b"hello")

    head, body = http2_pair.check(talk).result
    assert head == {":status": "200", "server": "envoy"} | {
        name: value for name, value in head.items() if name == "sec-websocket-accept"
    }
    assert body == first + b"hello"


def test_an_http_1_websocket_becomes_an_extended_connect_upstream(
    http2_pair: TcpPair, http2_echo: Http2Echo
) -> None:
    def talk(proxy: ProxyProcess) -> object:
        http2_echo.seen.clear()
        with connect(proxy) as client:
            client.sendall(http_request("/two", *WISH))
            answer = read_until(client, b"\r\n\r\n")
            client.sendall(b"hello")
            answer += read_until(client, b"hello")
        (seen,) = http2_echo.seen
        return answer, {name: value for name, value in seen.items() if name != "x-request-id"}

    answer, seen = http2_pair.check(talk).result
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert seen[":method"] == "CONNECT"
    assert seen[":protocol"] == "websocket"


def test_a_host_that_does_not_switch_answers_itself_over_http_2(http2_pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> object:
        with Http2Client(proxy.ports["main"]) as client:
            return talk_over_http2(client, extended("/403"), b"x")[0]

    assert http2_pair.check(talk).result[":status"] == "403"


def test_what_is_not_let_in_over_http_2_is_a_403(http2_pair: TcpPair) -> None:
    # Envoy says GOAWAY before its answer, which the library takes for the end.
    with Http2Client(http2_pair.sides["meshproxy"].ports["main"]) as client:
        assert client.request(extended("/ws", "other")).status == "403"
    http2_pair.skip_log("meshproxy")


def test_a_tunnel_over_http_2(http2_pair: TcpPair) -> None:
    def talk(proxy: ProxyProcess) -> object:
        plain = [(":method", "CONNECT"), (":authority", "h.example:80")]
        with Http2Client(proxy.ports["main"]) as client:
            return talk_over_http2(client, plain, b"PING\r\n\r\n")

    assert http2_pair.check(talk).result == ({":status": "200", "server": "envoy"}, b"PING\r\n\r\n")
