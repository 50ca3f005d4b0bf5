"""gRPC checks: the call, and what its end says of a host."""

from __future__ import annotations

import pytest

from meshproxy.http.grpc import encode_message
from meshproxy.upstream.health_check.config import GrpcHealthCheck
from tests.support.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    PREFACE,
    RST_STREAM,
    data,
    frame,
    headers,
    number,
    read_frames,
    settings,
)
from tests.upstream.health_check.world import World, config

GRPC = ((":status", "200"), ("content-type", "application/grpc"))
SERVING = encode_message(b"\x08\x01")
NOT_SERVING = encode_message(b"\x08\x02")
DONE = (("grpc-status", "0"),)


def world(**fields) -> World:
    check = GrpcHealthCheck(**fields.pop("check", {}))
    return World(config(check, **fields))


def answered(stream: int, message: bytes, trailers=DONE) -> bytes:
    return (
        headers(stream, GRPC, END_HEADERS)
        + data(stream, message, 0)
        + headers(stream, trailers, END_HEADERS | END_STREAM)
    )


def test_a_host_that_serves_is_well():
    one = world(check={"service_name": "svc"})
    wire = one.accept()
    frames = read_frames(wire.take().removeprefix(PREFACE))
    [message] = [each.payload for each in frames if each.kind == DATA]
    assert message == encode_message(b"\x0a\x03svc")
    wire.dispatch(settings() + answered(1, SERVING))
    assert one.flags == "healthy"
    one.wait()
    wire.dispatch(answered(3, SERVING))
    assert one.stats.success.value == 2
    assert len(one.connector.attempts) == 1


EMPTY = (*GRPC, ("grpc-status", "0"))
TRAILERS_ONLY = (*GRPC, ("grpc-status", "12"))


@pytest.mark.parametrize(
    "octets",
    [
        answered(1, NOT_SERVING),
        answered(1, SERVING, (("grpc-status", "5"),)),
        answered(1, SERVING, (("x", "y"),)),
        answered(1, SERVING + SERVING),
        answered(1, encode_message(b"\xff")),
        answered(1, encode_message(b"")),
        answered(1, b"\x01" + SERVING[1:]),
        answered(1, b"\x00\xff\xff\xff\xff"),
        headers(1, TRAILERS_ONLY),
        headers(1, EMPTY),
        headers(1, ((":status", "503"),)),
        headers(1, ((":status", "200"), ("content-type", "text/plain")), END_HEADERS),
        headers(1, GRPC, END_HEADERS) + data(1, SERVING, END_STREAM),
    ],
    ids=["not serving", "status", "no status", "two messages", "no protobuf", "empty", "compressed",
         "too large", "unimplemented", "no message", "503", "no grpc", "no trailers"],
)  # fmt: skip
def test_any_other_answer_is_a_failure_that_counts_at_once(octets):
    one = world()
    wire = one.accept()
    wire.dispatch(settings() + octets)
    assert one.flags == "/failed_active_hc"
    assert (one.stats.failure.value, one.stats.network_failure.value) == (1, 0)
    one.wait()
    assert len(one.connector.attempts) == 1
    wire.dispatch(answered(3, SERVING))
    assert one.stats.success.value == 1


def test_a_call_that_takes_too_long_is_cancelled_and_its_connection_kept():
    one = world()
    wire = one.accept()
    wire.dispatch(settings())
    wire.take()
    one.wait(1.0)
    assert [each.kind for each in read_frames(wire.take())] == [RST_STREAM]
    one.wait(10.0)
    wire.dispatch(answered(3, SERVING))
    assert (one.stats.success.value, one.stats.network_failure.value) == (1, 1)


def test_without_reuse_a_call_that_takes_too_long_takes_its_connection_along():
    one = world(reuse_connection=False)
    wire = one.accept()
    one.wait(1.0)
    assert wire.closed == "abort"


@pytest.mark.parametrize("octets", [frame(RST_STREAM, 0, 1, number(2)), b""])
def test_a_call_that_breaks_off_is_a_failure_of_the_network(octets):
    one = world()
    wire = one.accept()
    wire.dispatch(settings() + octets)
    if not octets:
        one.lose()
    assert one.stats.network_failure.value == 1


def test_the_timeout_travels_with_the_call():
    one = world(timeout=1.5, check={"authority": b"a.b"})
    assert b"1500m" in one.accept().sent


def test_a_host_that_goes_takes_its_call_along():
    one = world()
    wire = one.accept()
    wire.dispatch(settings())
    one.cluster.set_hosts([])
    assert wire.closed == "abort"
    one.lose()
    assert one.stats.failure.value == 0
