"""gRPC calls from inside, over the router and an HTTP/2 pool; the server plays frame by frame."""

from __future__ import annotations

import hpack
import pytest

from meshproxy.http.grpc import encode_message
from meshproxy.router.grpc_client import GrpcCall, GrpcClient
from meshproxy.upstream.cluster import ClusterConfig, UpstreamProtocol
from meshproxy.upstream.host import EndpointConfig, LocalityConfig
from tests.router.test_async_client import World as AsyncWorld
from tests.support.http2_frames import (
    DATA,
    END_HEADERS,
    HEADERS,
    PREFACE,
    RST_STREAM,
    data,
    headers,
    read_frames,
    rst,
    settings,
)

OK = ((":status", "200"), ("content-type", "application/grpc"), ("x-a", "b"))
ONE = encode_message(b"one")


class Receiver:
    def __init__(self) -> None:
        self.events: list[tuple] = []

    def on_initial_metadata(self, metadata):
        self.events.append(("initial", dict(metadata).get(b"x-a")))

    def on_message(self, message):
        self.events.append(("message", message))

    def on_trailing_metadata(self, metadata):
        self.events.append(("trailing", dict(metadata).get(b"x-t")))

    def on_close(self, status, message):
        self.events.append(("close", status, message))


class World(AsyncWorld):
    def __init__(self) -> None:
        super().__init__()
        hosts = (LocalityConfig(endpoints=(EndpointConfig("127.0.0.1", 81),)),)
        self.clusters.add(
            ClusterConfig(
                name="grpc", endpoints=hosts, idle_timeout=None,
                upstream_protocol=UpstreamProtocol.HTTP2,
            )
        )  # fmt: skip
        self.grpc = GrpcClient(self.client)
        self.receiver = Receiver()
        self.wire = None

    @property
    def events(self):
        return self.receiver.events

    def open(self, cluster="grpc", **fields):
        call = GrpcCall(cluster, "/s.S/M", **fields)
        stream = self.grpc.open(call, self.receiver)
        if self.connector.waiting:
            self.wire = self.connector.succeed()
            self.wire.dispatch(settings())
        return stream

    def sent(self):
        return [
            each
            for each in read_frames(self.wire.take().removeprefix(PREFACE))
            if each.kind in (HEADERS, DATA, RST_STREAM)
        ]

    def play(self, *octets):
        for each in octets:
            self.wire.dispatch(each)


def test_a_call_is_sent_as_grpc_wants_it():
    world = World()
    stream = world.open(metadata=[(b"k-bin", b"AQI")], timeout=2.5)
    stream.send(b"one", True)
    head, body = world.sent()
    fields = dict(hpack.Decoder().decode(head.payload, raw=True))
    assert fields[b":method"] == b"POST"
    assert fields[b":path"] == b"/s.S/M"
    assert fields[b":authority"] == b"grpc"
    assert fields[b"content-type"] == b"application/grpc"
    assert fields[b"te"] == b"trailers"
    assert fields[b"grpc-timeout"] == b"2500m"
    assert fields[b"k-bin"] == b"AQI"
    assert (body.payload, body.ends) == (ONE, True)


def test_a_stream_of_messages_and_its_status():
    world = World()
    stream = world.open()
    stream.send(b"one", False)
    stream.close()
    assert [(each.kind, each.ends) for each in world.sent()] == [
        (HEADERS, False), (DATA, False), (DATA, True),
    ]  # fmt: skip
    world.play(
        headers(1, OK, END_HEADERS), data(1, ONE[:4], 0), data(1, ONE[4:] + ONE, 0),
        headers(1, (("grpc-status", "0"), ("x-t", "1"))),
    )  # fmt: skip
    assert world.events == [
        ("initial", b"b"), ("message", b"one"), ("message", b"one"), ("trailing", b"1"),
        ("close", 0, ""),
    ]  # fmt: skip


def test_an_answer_of_trailers_only():
    world = World()
    world.open().send(b"", True)
    world.play(headers(1, (*OK, ("grpc-status", "5"), ("grpc-message", "no%20such"))))
    assert world.events == [("initial", None), ("trailing", None), ("close", 5, "no such")]


RESET = "upstream connect error or disconnect/reset before headers. reset reason: remote reset"


@pytest.mark.parametrize(
    ("octets", "close"),
    [
        (headers(1, ((":status", "503"),)), ("close", 14, "")),
        (headers(1, ((":status", "404"), ("x", "y")), END_HEADERS), ("close", 12, "")),
        (headers(1, OK), ("close", 2, "")),
        (headers(1, OK, END_HEADERS) + headers(1, (("x-t", "1"),)), ("close", 2, "")),
        (
            headers(1, OK, END_HEADERS) + data(1, b"", 1),
            ("close", 2, "an answer without a status"),
        ),
        (
            headers(1, OK, END_HEADERS) + data(1, b"\1\0\0\0\0", 0),
            ("close", 13, "a message is compressed, which was not offered"),
        ),
        (
            headers(1, OK, END_HEADERS) + data(1, b"\0\0\0\0\5a", 0)
            + headers(1, (("grpc-status", "0"),)),
            ("close", 13, "the answer ends within a message"),
        ),
        (rst(1, 8), ("close", 14, RESET)),
    ],
)  # fmt: skip
def test_whatever_comes_there_is_one_end(octets, close):
    world = World()
    world.open().send(b"", True)
    world.play(octets)
    assert world.events[-1] == close
    assert sum(each[0] == "close" for each in world.events) == 1


def test_a_reset_within_the_answer_is_unavailable():
    world = World()
    world.open().send(b"", True)
    world.play(headers(1, OK, END_HEADERS), rst(1, 2))
    assert world.events[-1][:2] == ("close", 14)


def test_a_call_that_was_given_up_hears_nothing_more():
    world = World()
    stream = world.open()
    stream.send(b"", False)
    world.sent()
    stream.reset()
    assert [each.kind for each in world.sent()] == [RST_STREAM]
    world.play(headers(1, OK))
    stream.send(b"late", True)
    assert world.events == []


def test_a_call_that_takes_too_long_is_unavailable_and_reset():
    world = World()
    world.open(timeout=1.0).send(b"", True)
    world.sent()
    world.dispatcher.advance(1.1)
    assert [each.kind for each in world.sent()] == [RST_STREAM]
    assert [kind for kind, *_ in world.events] == ["initial", "trailing", "close"]
    assert world.events[-1] == ("close", 14, "upstream request timeout")


def test_an_unknown_cluster_is_no_call_and_one_without_hosts_ends_later():
    world = World()
    assert world.open(cluster="none") is None
    assert not world.grpc.knows("none")
    assert world.open(cluster="empty") is not None
    assert world.events == []
    world.dispatcher.advance(0)
    assert [kind for kind, *_ in world.events] == ["initial", "trailing", "close"]
    assert world.events[-1] == ("close", 14, "no healthy upstream")


def test_a_message_larger_than_allowed_ends_the_call():
    world = World()
    world.open(max_message=2).send(b"", True)
    world.play(headers(1, OK, END_HEADERS), data(1, ONE, 0))
    assert world.events[-1] == ("close", 8, "grpc: received message larger than max (3 vs. 2)")


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (
            headers(1, OK, END_HEADERS) + data(1, ONE, 0) + headers(1, (("grpc-status", "0"),)),
            (0, "", b"one"),
        ),
        (headers(1, (*OK, ("grpc-status", "3"), ("grpc-message", "bad"))), (3, "bad", b"")),
        (headers(1, (*OK, ("grpc-status", "0"))), (13, "an answer without a message", b"")),
    ],
)
def test_a_unary_call_has_one_answer(octets, expected):
    world, got = World(), []
    world.grpc.unary(GrpcCall("grpc", "/s.S/M"), b"q", lambda *answer: got.append(answer))
    world.wire = world.connector.succeed()
    world.play(settings(), octets)
    assert got == [expected]
