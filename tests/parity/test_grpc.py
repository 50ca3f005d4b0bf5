"""gRPC's filters, statuses, timeouts and log operators: the same as Envoy's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import pytest

from meshproxy.http.grpc import encode_message
from tests.parity.config import extension
from tests.parity.http2_harness import Http2Pair, http2_pair, request
from tests.support.http2_peers import Http2Client, Link, Message

PACKAGE = "envoy.extensions.filters.http."
WEB = extension("envoy.filters.http.grpc_web", PACKAGE + "grpc_web.v3.GrpcWeb")
BRIDGE_TYPE = PACKAGE + "grpc_http1_bridge.v3.Config"
BRIDGE = extension("envoy.filters.http.grpc_http1_bridge", BRIDGE_TYPE)
UPGRADE = extension(
    "envoy.filters.http.grpc_http1_bridge", BRIDGE_TYPE,
    upgrade_protobuf_to_grpc=True, ignore_query_parameters=True,
)  # fmt: skip
STATS_TYPE = PACKAGE + "grpc_stats.v3.FilterConfig"
CHAINS = {
    "web": [WEB],
    "bridge": [BRIDGE],
    "upgrade": [UPGRADE],
    "all": [extension("envoy.filters.http.grpc_stats", STATS_TYPE, stats_for_all_methods=True)],
    "dots": [
        extension(
            "envoy.filters.http.grpc_stats", STATS_TYPE, stats_for_all_methods=True,
            replace_dots_in_grpc_service_name=True,
        )
    ],
    "listed": [
        extension(
            "envoy.filters.http.grpc_stats", STATS_TYPE, replace_dots_in_grpc_service_name=True,
            individual_method_stats_allowlist={
                "services": [{"name": "two.T", "method_names": ["Listed"]}]
            },
        )
    ],
}  # fmt: skip
ONE = encode_message(b"one")
BIG = encode_message(b"x" * 20_000)


@pytest.fixture(scope="module")
def both() -> Iterator[Http2Pair]:
    with http2_pair(chains=CHAINS) as pair:
        yield pair


def answer(*messages: bytes, status: str = "0", text: str = ""):
    def play(link: Link, stream: int, _: Message) -> None:
        link.h2.send_headers(
            stream, [(":status", "200"), ("content-type", "application/grpc"), ("x-a", "b")]
        )
        for message in messages:
            link.send_body(stream, message, end=False)
        trailers = [("grpc-status", status)]
        if text:
            trailers.append(("grpc-message", text))
        link.h2.send_headers(stream, trailers, end_stream=True)

    return play


def trailers_only(link: Link, stream: int, _: Message) -> None:
    link.h2.send_headers(
        stream,
        [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "7"),
         ("grpc-message", "no")],
        end_stream=True,
    )  # fmt: skip


def plain(status: str, body: bytes):
    def play(link: Link, stream: int, _: Message) -> None:
        link.h2.send_headers(stream, [(":status", status), ("content-type", "text/plain")],
                             end_stream=not body)  # fmt: skip
        if body:
            link.h2.send_data(stream, body, end_stream=True)

    return play


def post(path: str, content_type: str, body: bytes, *fields: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "host: h", f"content-type: {content_type}", *fields]
    head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


ANSWERS = {
    "a message": answer(ONE),
    "two messages": answer(ONE, BIG),
    "an error": answer(status="5", text="no%20such"),
    "a message and an error": answer(ONE, status="13"),
    "trailers only": trailers_only,
    "not gRPC": plain("503", b"go away %"),
    "not gRPC and no body": plain("404", b""),
    "not gRPC and 200": plain("200", b"hello"),
}
TEXT = "application/grpc-web-text"


@pytest.mark.parametrize("play", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize(
    "sent",
    [
        post("/two/s.S/M", "application/grpc-web", ONE),
        post("/two/s.S/M", "application/grpc-web+proto", ONE, "accept: " + TEXT),
        post("/two/s.S/M", TEXT, b64encode(ONE), "accept: " + TEXT),
        post("/two/s.S/M", TEXT + "+proto", b64encode(ONE)),
    ],
    ids=["binary", "binary, answered as text", "text", "text, answered as binary"],
)
def test_grpc_web(both: Http2Pair, sent: bytes, play):
    both.check(sent, play=play, listener="web")


@pytest.mark.parametrize(
    "body", [b"AAAA", b64encode(ONE + BIG), b""], ids=["groups", "two", "empty"]
)  # fmt: skip
def test_grpc_web_in_base64(both: Http2Pair, body: bytes):
    both.check(post("/two/s.S/M", TEXT, body), play=answer(ONE), listener="web", lines=1)


def test_grpc_web_over_http_2(both: Http2Pair):
    headers = request(("content-type", "application/grpc-web"), method="POST")

    def drive(client: Http2Client) -> list[Message]:
        return [client.request(headers, ONE)]

    both.check(drive, play=answer(ONE), listener="web")


@pytest.mark.parametrize(
    "sent",
    [
        post("/two/s.S/M", "application/grpc", ONE),
        post("/two/s.S/M", "text/plain", ONE),
        post("/direct", "application/grpc-web", ONE),
        post("/none", "application/grpc-web", ONE),
    ],
    ids=["gRPC itself", "something else", "an answer from here", "no route"],
)
def test_what_is_not_grpc_web_is_left_alone(both: Http2Pair, sent: bytes):
    both.check(sent, play=answer(ONE), listener="web")


@pytest.mark.parametrize("play", ANSWERS.values(), ids=ANSWERS)
def test_the_bridge_makes_headers_of_trailers(both: Http2Pair, play):
    both.check(post("/two/s.S/M", "application/grpc", ONE), play=play, listener="bridge")


@pytest.mark.parametrize("play", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/protobuf"])
def test_the_bridge_frames_bare_messages(both: Http2Pair, content_type: str, play):
    both.check(post("/two/s.S/M?q=1", content_type, b"one"), play=play, listener="upgrade")


def call(path: str, *messages: bytes):
    headers = request(("content-type", "application/grpc"), ("te", "trailers"), method="POST",
                      path=path)  # fmt: skip

    def drive(client: Http2Client) -> list[Message]:
        return [client.request(headers, b"".join(messages))]

    return drive


@pytest.mark.parametrize("play", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize(
    ("path", "listener"),
    [("/two.S/M", "all"), ("/two", "all"), ("/two.S/M", "dots"), ("/two.T/Listed", "listed"),
     ("/two.T/Other", "listed"), ("/two", "listed")],
)  # fmt: skip
def test_grpc_stats(both: Http2Pair, path: str, listener: str, play):
    both.check(call(path, ONE, BIG), play=play, listener=listener)


@pytest.mark.parametrize("path", ["/none", "/slow"])
def test_answers_from_here_are_trailers_only(both: Http2Pair, path: str):
    # Whether the request has ended when it is answered is a race between two sockets.
    both.check(
        call(path, ONE), play=lambda link, stream, _: None, listener="all",
        resets=path == "/slow", ignore=("http2.tx_reset", "http.all.downstream_rq_r"),
    )  # fmt: skip
