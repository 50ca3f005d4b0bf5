"""Watched configuration: a client that does not read keeps nobody, and is told the newest."""

import socket

import grpc
import pytest

pytest.importorskip("dapr")

from dapr.proto import api_v1 as pb

from tests.support.http2_peers import Link
from tests.support.sidecar import Sidecar

WATCH = "/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration"
COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: conf}
spec:
  type: configuration.redis
  version: v1
  metadata:
  - {name: redisHost, value: "%s"}
"""
SIZE = 256 * 1024
CHANGES = 60
REQUEST = pb.SubscribeConfigurationRequest(store_name="conf", keys=["big"])


def messages(body: bytes) -> list:
    """The messages of a response, without their prefixes."""
    found = []
    while len(body) >= 5 and len(body) - 5 >= (size := int.from_bytes(body[1:5], "big")):
        found.append(pb.SubscribeConfigurationResponse.FromString(body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def watch(link: Link) -> None:
    """Begin a call, and read no more than its first message."""
    fields = [
        (":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", WATCH),
        ("content-type", "application/grpc"), ("te", "trailers"),
    ]  # fmt: skip
    link.h2.send_headers(1, fields)
    data = REQUEST.SerializeToString()
    link.h2.send_data(1, b"\0" + len(data).to_bytes(4, "big") + data, end_stream=True)
    link.flush()
    while 1 not in link.messages or not messages(link.messages[1].body):
        assert link.receive(), "the call has ended"


def test_a_slow_client_is_told_the_newest_and_not_everything(tmp_path, redis_server):
    (tmp_path / "conf.yaml").write_text(COMPONENT % redis_server.address)
    with (
        Sidecar("app", "--resources-path", str(tmp_path)) as sidecar,
        socket.create_connection(("127.0.0.1", sidecar.grpc_port), timeout=20) as sock,
        grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}") as channel,
    ):
        slow = Link(sock, client=True)
        watch(slow)
        quick = channel.unary_stream(
            WATCH, lambda m: m.SerializeToString(), pb.SubscribeConfigurationResponse.FromString
        )(REQUEST, timeout=60)
        next(quick)
        for number in range(CHANGES):
            redis_server.client.set("big", f"{number:03}" + "x" * SIZE)
            assert next(quick).items["big"].value[:3] == f"{number:03}"
        values: list[str] = []
        while not values or values[-1] != f"{CHANGES - 1:03}":
            assert slow.receive(), "the call has ended"
            told = messages(slow.messages[1].body)[1:]
            values = [each.items["big"].value[:3] for each in told]
        assert values == sorted(values)
        assert len(values) * SIZE < 8 << 20
        quick.cancel()
