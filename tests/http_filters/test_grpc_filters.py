"""gRPC's filters where Envoy need not be asked: what is refused, bounded, or only counted."""

from __future__ import annotations

import pytest

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE, STOP_ITERATION_AND_BUFFER, STOP_ITERATION_NO_BUFFER
from meshproxy.http.grpc import encode_message
from meshproxy.http.header_map import HeaderMap
from meshproxy.http_filters.grpc_counts import MAX_METHODS, GrpcCounts, service_and_method
from meshproxy.http_filters.grpc_http1_bridge import BridgeConfig, GrpcHttp1Bridge
from meshproxy.http_filters.grpc_web import GrpcWeb
from meshproxy.stats.store import Store
from tests.support.fake_stream import FakeCallbacks


class FakeCluster:
    def __init__(self) -> None:
        self.store = Store()
        self.scope = self.store.scope("cluster.c.")


def web(content_type: bytes = b"application/grpc-web-text") -> tuple[GrpcWeb, FakeCallbacks]:
    made = GrpcWeb(GrpcCounts("grpc-web"))
    callbacks = FakeCallbacks()
    made.set_callbacks(callbacks)
    headers = HeaderMap([(b":path", b"/s/m"), (b"content-type", content_type)])
    assert made.decode_headers(headers, False) == CONTINUE
    return made, callbacks


def feed(made: GrpcWeb, text: bytes, end: bool = False) -> tuple[int, bytes]:
    data = Buffer(text)
    return made.decode_data(data, end), data.take()


def test_base64_is_undone_four_characters_at_a_time():
    made, _ = web()
    assert feed(made, b"AA") == (STOP_ITERATION_NO_BUFFER, b"")
    assert feed(made, b"AAAA") == (CONTINUE, b"\0\0\0")
    assert feed(made, b"AA", end=True) == (CONTINUE, b"\0\0\0")


@pytest.mark.parametrize(
    ("text", "details"),
    [
        (b"AAA", "grpc_base_64_decode_failed_bad_size"),
        (b"!!!!", "grpc_base_64_decode_failed"),
        (b"AA==AAAA", "grpc_base_64_decode_failed"),
    ],
)
def test_what_is_no_base64_is_answered_400(text, details):
    made, callbacks = web()
    assert feed(made, text, end=True)[0] == STOP_ITERATION_NO_BUFFER
    assert callbacks.reply is not None
    assert (callbacks.reply.status, callbacks.reply.details) == (400, details)


def test_other_requests_are_not_touched():
    made, _ = web(b"text/plain")
    assert feed(made, b"!!!") == (CONTINUE, b"!!!")


def test_a_bare_message_waits_for_its_end():
    made = GrpcHttp1Bridge(BridgeConfig(upgrade_protobuf_to_grpc=True))
    callbacks = FakeCallbacks()
    made.set_callbacks(callbacks)
    headers = HeaderMap(
        [(b":path", b"/s/m?q"), (b"content-type", b"application/x-protobuf"),
         (b"content-length", b"3")]
    )  # fmt: skip
    made.decode_headers(headers, False)
    assert headers.get(b"content-type") == b"application/grpc"
    assert headers.get(b"content-length") is None
    assert headers.get(b":path") == b"/s/m?q"
    assert made.decode_data(Buffer(b"on"), False) == STOP_ITERATION_AND_BUFFER
    callbacks.decoding_buffer = Buffer(b"on")
    last = Buffer(b"e")
    assert made.decode_data(last, True) == CONTINUE
    assert last.take() == encode_message(b"one")


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"/a.B/C", ("a.B", "C")), (b"/a/b?c", ("a", "b")), (b"/a", None), (b"/a/b/c", None),
     (b"//b", None), (b"a/b", None), (b"/a/\xff", None), (b"", None)],
)  # fmt: skip
def test_a_path_has_a_service_and_a_method(path, expected):
    assert service_and_method(path) == expected


def test_names_that_clients_make_up_do_not_grow_the_statistics_without_bound():
    counts, one = GrpcCounts("grpc"), FakeCluster()
    for number in range(MAX_METHODS + 50):
        counts.of(one, ("s", f"m{number}")).charge(HeaderMap([(b"grpc-status", b"0")]))
    store = one.store.metrics
    assert sum(name.endswith(".total") for name in store) <= MAX_METHODS + 1
    assert store["cluster.c.grpc.total"].value == 50


def test_a_call_is_charged_by_its_status():
    one = FakeCluster()
    calls = GrpcCounts("grpc").of(one, None)
    for status in (b"0", b"5", b"junk"):
        calls.charge(HeaderMap([(b"grpc-status", status)]))
    calls.charge(HeaderMap())
    metrics = one.store.metrics.items()
    values = {name.rpartition(".")[2]: metric.value for name, metric in metrics}
    assert values == {"0": 1, "5": 1, "success": 1, "failure": 2, "total": 3}
