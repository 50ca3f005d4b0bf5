"""Stopping, buffering and going on: the same callbacks, sizes and messages as in Envoy."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.conformance.commands import CALL_HEADERS
from tests.conformance.conftest import Pairs
from tests.conformance.harness import RESPONSE, Plugin, different, request

PLAIN = Plugin()
STOPPING = Plugin(allow_on_headers_stop_iteration=True)
LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nx-up: 1\r\n\r\nanswerend"
EMPTY = b"HTTP/1.1 204 No Content\r\nx-up: 1\r\n\r\n"
LARGE = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000
TICK = "proxy_set_tick_period_milliseconds|50"
GO = "tick=proxy_set_effective_context|@;proxy_continue_stream|{}"
READ = "proxy_get_buffer_status|{0};proxy_get_buffer_bytes|{0}|0|100"


@dataclass(frozen=True)
class Case:
    """A program, and what passes through it. `lines_only`: the answer is not compared."""

    name: str
    program: str
    method: str = "POST"
    trailers: bool = True
    response: bytes = RESPONSE
    plugin: Plugin = PLAIN
    limit: int = 0


def paused(phase: str, status: int, stream: int, **options) -> Case:
    """A phase that stops, and a timer that lets it go on."""
    program = f"{phase}={TICK};return|{status}^{GO.format(stream)}"
    return Case(f"{phase} {status}, go on later", program, **options)


def held(phase: str, status: int, stream: int, **options) -> Case:
    """A body that is held back piece by piece, and let go at its end."""
    buffer = 0 if stream == 0 else 1
    look = READ.format(buffer)
    program = f"{phase}={look};return|{status}^{phase}_end={look};return|0"
    return Case(f"{phase} {status}, go on at the end", program, **options)


CASES = [
    *(paused("request_headers", status, 0) for status in range(1, 6)),
    *(paused("request_headers", status, 0, method="GET") for status in range(1, 6)),
    *(paused("response_headers", status, 1) for status in range(1, 6)),
    *(paused("response_headers", status, 1, response=EMPTY) for status in (1, 4)),
    *(paused("request_trailers", status, 0) for status in (1, 2)),
    *(paused("response_trailers", status, 1) for status in (1, 2)),
    *(paused("request_body", status, 0) for status in range(1, 5)),
    *(paused("response_body", status, 1) for status in range(1, 5)),
    *(held("request_body", status, 0, trailers=False) for status in (1, 2, 3)),
    *(held("request_body", status, 0) for status in (1, 2)),
    *(held("response_body", status, 1, response=LENGTH) for status in (1, 2, 3)),
    *(held("response_body", status, 1) for status in (1, 2)),
    Case(
        "request headers wait for the body",
        "request_headers=return|1^request_body=return|1^request_body_end=return|0",
        trailers=False,
        plugin=STOPPING,
    ),
    Case(
        "request headers are changed with the body",
        "request_headers=return|1^request_body=return|1;proxy_get_header_map_value|0|:path^"
        "request_body_end=proxy_replace_header_map_value|0|x-one|new;return|0",
        trailers=False,
        plugin=STOPPING,
    ),
    Case(
        "request headers go with the first bytes",
        "request_headers=return|1^request_body=return|0",
        plugin=STOPPING,
    ),
    Case(
        "response headers wait for the body",
        "response_headers=return|1^response_body=return|1^response_body_end="
        "proxy_replace_header_map_value|2|x-up|new;return|0",
        response=LENGTH,
        plugin=STOPPING,
    ),
    Case(
        "an answer in place of a body",
        "response_headers=return|1^response_body=proxy_send_local_response|403|no|denied||-1;return|1",
        response=LENGTH,
        plugin=STOPPING,
    ),
    Case(
        "headers wait and the body has trailers",
        "request_headers=return|1^request_body=return|1^request_trailers=return|0",
        plugin=STOPPING,
    ),
    Case("a body with trailers of its own",
         "request_body_end=proxy_add_header_map_value|1|x-t|1;proxy_get_header_map_pairs|1",
         trailers=False),
    Case("an answer with trailers of its own",
         "response_body_end=proxy_add_header_map_value|3|x-t|1;proxy_get_header_map_pairs|3",
         response=LENGTH.replace(b"content-length: 9", b"transfer-encoding: chunked").replace(
             b"answerend", b"9\r\nanswerend\r\n0\r\n\r\n")),
    Case("trailers in another phase", "request_headers=proxy_add_header_map_value|1|x-t|1"),
    Case("a callout while the request waits",
         f"request_headers=proxy_http_call|up|{CALL_HEADERS}|question||500;return|1^"
         "http_call_response=proxy_get_header_map_value|6|:status;proxy_get_buffer_bytes|4|0|99;"
         "proxy_set_effective_context|@;proxy_add_header_map_value|0|x-checked|yes;"
         "proxy_continue_stream|0", response=LENGTH),
    Case("a callout that is answered with a refusal",
         f"request_headers=proxy_http_call|up|{CALL_HEADERS}|||500;return|1^http_call_response="
         "proxy_set_effective_context|@;proxy_send_local_response|403|no|denied||-1",
         response=LENGTH),
    Case("a callout that cannot connect",
         f"request_headers=proxy_http_call|dead|{CALL_HEADERS}|||500;return|1^http_call_response="
         "proxy_get_header_map_value|6|:status;proxy_get_header_map_value|6|content-type;"
         "proxy_get_status;proxy_set_effective_context|@;proxy_continue_stream|0",
         response=LENGTH),
    Case("callouts that cannot be made",
         f"request_headers=proxy_http_call|nobody|{CALL_HEADERS}|||500;proxy_http_call|up||||500;"
         f"proxy_http_call|up|{CALL_HEADERS}|||-1;proxy_http_call|up|rubbish|||5"),
    Case("a callout with trailers",
         f"request_headers=proxy_http_call|up|{CALL_HEADERS}|body|%01%00%00%00%01%00%00%00%01%00"
         "%00%00t%001%00|500;return|1^http_call_response=proxy_set_effective_context|@;"
         "proxy_continue_stream|0"),
    Case("two local replies",
         "request_headers=proxy_send_local_response|403|a b|one||-1;"
         "proxy_send_local_response|404|b|two||-1"),
    Case("a local reply with headers",
         "request_headers=proxy_send_local_response|429||slow|%02%00%00%00%01%00%00%00%01%00%00%00"
         "%07%00%00%00%03%00%00%00a%00b%00:status%00200%00|-1"),
    *(Case(f"a local reply {status}", f"request_headers=proxy_send_local_response|{status}|d|b||-1",
           method="GET") for status in (200, 404, 500, 599)),
    Case("a local reply without a body",
         "request_headers=proxy_send_local_response|403||||-1", method="GET"),
    *(Case(f"too much of the {what}", f"{what}_body=return|1", response=LARGE, trailers=False,
           limit=1024) for what in ("response",)),
    Case("too much of a response that has not begun",
         "response_headers=return|3", response=LARGE, limit=1024),
]  # fmt: skip

HANGS = "response_body 3, go on at the end"
"""Its body is dropped piece by piece, and its content-length never reached."""
assert HANGS in [case.name for case in CASES]


@pytest.mark.parametrize("phase", ["request_body=return|1", "request_headers=return|3"])
def test_too_much_of_a_request_is_refused_as_in_envoy(pairs: Pairs, phase: str):
    both = pairs.of(PLAIN, limit=1024)
    body = "FA0\r\n" + "x" * 4000 + "\r\n"
    seen = both.run(request(phase, trailers=False, body=body), LENGTH)
    wrong = different(seen, lines_only=True)  # all of it has arrived: the connection serves on
    assert not wrong, "\n".join(["", *wrong])
    answers = {(side.answer[0], side.answer[3]) for side in seen.values()}
    assert answers == {(413, b"Payload Too Large")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_happens_as_in_envoy(pairs: Pairs, case: Case):
    both = pairs.of(case.plugin, limit=case.limit)
    data = request(case.program, method=case.method, trailers=case.trailers)
    patience = 1.0 if case.name == HANGS else 10.0
    seen = both.run(data, case.response, patience=patience)
    for side in seen.values():  # a second tick may come to nobody, sooner or later
        side.lines = [line for line in side.lines if not line.startswith("probe tick ")]
    wrong = different(seen)
    assert not wrong, "\n".join(["", *wrong])
