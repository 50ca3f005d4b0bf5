"""The public gRPC interoperability cases: grpcio at both ends, the proxy between."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.http2_harness import HTTP2
from tests.support.grpc_app import TIMEOUT_S, GrpcChannel, GrpcServer
from tests.support.processes import ProxyProcess
from tests.support.upstreams import RefusingPort

ROUTES = """
- match: {prefix: /test.Interop, grpc: {}}
  route: {cluster: app, timeout: 0s}
- match: {prefix: /grpc.health.v1.Health, grpc: {}}
  route: {cluster: app, timeout: 0s}
- match: {prefix: /test.Dead}
  route: {cluster: dead}
- match: {prefix: /test.Slow}
  route: {cluster: app, timeout: 0.2s, prefix_rewrite: /test.Interop}
- match: {prefix: /test.Bounded}
  route: {cluster: app, max_grpc_timeout: 0.2s, prefix_rewrite: /test.Interop}
"""
LARGE = 3_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[GrpcServer]:
    with GrpcServer() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: GrpcServer) -> Iterator[ProxyProcess]:
    with RefusingPort() as dead:
        yaml = bootstrap(
            [listener("main", virtual_host(ROUTES))],
            [
                {**cluster("app", [server.port]), **HTTP2},
                {**cluster("dead", [dead.port]), **HTTP2},
            ],
        )
        with ProxyProcess("meshproxy", yaml) as running:
            yield running


@pytest.fixture
def channel(proxy: ProxyProcess) -> Iterator[GrpcChannel]:
    with GrpcChannel(proxy.ports["main"]) as made:
        yield made


class Feed:
    """Requests that a test sends one by one."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue()

    def send(self, message: bytes | None) -> None:
        self._queue.put(message)

    def __iter__(self) -> Iterator[bytes]:
        while (message := self._queue.get(timeout=TIMEOUT_S)) is not None:
            yield message


def failure(call) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


def test_empty_unary(channel):
    assert channel.unary("Unary")(b"", timeout=TIMEOUT_S) == b""


def test_large_unary(channel):
    assert channel.unary("Unary")(b"x" * LARGE, timeout=TIMEOUT_S) == b"x" * LARGE


def test_client_streaming(channel):
    sizes = (27182, 8, 1828, 45904)
    requests = iter([b"x" * size for size in sizes])
    assert channel.client_stream()(requests, timeout=TIMEOUT_S) == b"74922"


def test_server_streaming(channel):
    answers = channel.server_stream()(b"31415,9,2653,58979", timeout=TIMEOUT_S)
    assert [len(each) for each in answers] == [31415, 9, 2653, 58979]


def test_server_streaming_of_more_than_a_window(channel):
    answers = channel.server_stream()(f"{LARGE},{LARGE}".encode(), timeout=TIMEOUT_S)
    assert [len(each) for each in answers] == [LARGE, LARGE]


def test_ping_pong(channel):
    feed = Feed()
    answers = channel.chat()(iter(feed), timeout=TIMEOUT_S)
    for size in (31415, 9, 2653, 58979):
        feed.send(b"x" * size)
        assert len(next(answers)) == size
    feed.send(None)
    assert list(answers) == []


def test_empty_stream(channel):
    assert list(channel.chat()(iter(()), timeout=TIMEOUT_S)) == []


def test_cancel_after_begin(channel, server):
    feed = Feed()
    call = channel.client_stream().future(iter(feed), timeout=TIMEOUT_S)
    call.cancel()
    feed.send(None)
    assert call.cancelled()


def test_cancel_after_first_response(channel, server):
    server.cancelled.clear()
    feed = Feed()
    answers = channel.chat()(iter(feed), timeout=TIMEOUT_S)
    feed.send(b"x")
    assert next(answers) == b"x"
    answers.cancel()
    feed.send(None)
    assert answers.code() is grpc.StatusCode.CANCELLED
    assert server.cancelled.wait(TIMEOUT_S)


def test_timeout_on_sleeping_server(channel, server):
    server.cancelled.clear()
    error = failure(lambda: channel.unary("Sleep")(b"", timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.cancelled.wait(TIMEOUT_S)


def test_the_routes_timeout_ends_the_call_on_both_sides(channel, server):
    server.cancelled.clear()
    error = failure(lambda: channel.unary("Sleep", "test.Slow")(b"", timeout=TIMEOUT_S))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "upstream request timeout"
    assert server.cancelled.wait(TIMEOUT_S)


def test_max_grpc_timeout_bounds_the_clients_and_tells_the_server(channel, server):
    server.seen.clear()
    error = failure(lambda: channel.unary("Sleep", "test.Bounded")(b"", timeout=TIMEOUT_S))
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert server.seen[0][0] == "Sleep"


def test_custom_metadata(channel):
    metadata = (("x-echo-initial", "one"), ("x-echo-trailing-bin", b"\x00\xab\xff"))
    _, call = channel.unary("Unary").with_call(b"", timeout=TIMEOUT_S, metadata=metadata)
    assert ("x-echo-initial", "one") in [tuple(each) for each in call.initial_metadata()]
    assert dict(call.trailing_metadata())["x-echo-trailing-bin"] == b"\x00\xab\xff"


def test_status_code_and_message(channel):
    error = failure(lambda: channel.unary("Fail")(b"2 test status message", timeout=TIMEOUT_S))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")
    assert dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x05\xff"


def test_special_status_message(channel):
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    error = failure(lambda: channel.unary("Fail")(f"2 {text}".encode(), timeout=TIMEOUT_S))
    assert error.details() == text


@pytest.mark.parametrize("code", range(1, 17))
def test_every_status_comes_through(channel, code):
    error = failure(lambda: channel.unary("Fail")(f"{code} x".encode(), timeout=TIMEOUT_S))
    assert error.code().value[0] == code


def test_unimplemented_method(channel):
    error = failure(lambda: channel.unary("NoSuch")(b"", timeout=TIMEOUT_S))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_unimplemented_service(channel):
    error = failure(lambda: channel.unary("Unary", "test.NoSuch")(b"", timeout=TIMEOUT_S))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED  # no route: 404


def test_a_dead_upstream_is_unavailable(channel):
    error = failure(lambda: channel.unary("Unary", "test.Dead")(b"", timeout=TIMEOUT_S))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "remote connection failure" in error.details()


def test_a_servers_health_can_be_asked_and_watched(proxy, server):
    with grpc.insecure_channel(f"127.0.0.1:{proxy.ports['main']}") as plain:
        stub = health_pb2_grpc.HealthStub(plain)
        asked = health_pb2.HealthCheckRequest()
        answer = health_pb2.HealthCheckResponse
        assert stub.Check(asked, timeout=TIMEOUT_S).status == answer.SERVING
        watched = stub.Watch(asked, timeout=TIMEOUT_S)
        assert next(watched).status == answer.SERVING
        server.health.set("", answer.NOT_SERVING)
        assert next(watched).status == answer.NOT_SERVING
        watched.cancel()
        unknown = health_pb2.HealthCheckRequest(service="nobody")
        error = failure(lambda: stub.Check(unknown, timeout=TIMEOUT_S))
        assert error.code() is grpc.StatusCode.NOT_FOUND


def test_many_calls_at_the_same_time(channel):
    calls = [channel.unary("Unary").future(b"%d" % n, timeout=TIMEOUT_S) for n in range(200)]
    assert [call.result() for call in calls] == [b"%d" % n for n in range(200)]


def test_nothing_is_left_over(proxy):
    counters = proxy.counters()
    assert counters["cluster.app.upstream_rq_active"] == 0
    assert counters["http.main.downstream_rq_active"] == 0
    assert counters["http2.streams_active"] == 0
    assert counters["cluster.app.http2.streams_active"] == 0
    assert "unhandled error" not in proxy.log
