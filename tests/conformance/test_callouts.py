"""HTTP calls of filters that meet trouble: the same callbacks and statuses as in Envoy."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conformance.commands import CALL_HEADERS
from tests.conformance.harness import (
    RESPONSE,
    Both,
    Plugin,
    configuration,
    different,
    request,
)
from tests.support.upstreams import Peer, RecordingUpstream, RefusingPort, Request

LOOK = (
    "proxy_get_header_map_value|6|:status;proxy_get_header_map_pairs|7;proxy_get_buffer_bytes|4|0|99;"
    "proxy_get_buffer_status|4;proxy_get_status"
)
GO_ON = "proxy_set_effective_context|@;proxy_continue_stream|0"
CHECK = "proxy_http_call|up|{}|{}||{}"


def check(body: str = "", timeout: int = 2000) -> str:
    """A call of the upstream's `/check`."""
    return CHECK.format(CALL_HEADERS, body, timeout)


def silent(peer: Peer, asked: Request) -> None:
    """Does not answer the check."""
    if asked.target != "/check":
        peer.send(RESPONSE)


def broken(peer: Peer, asked: Request) -> None:
    """Breaks the answer to the check off before it has begun."""
    if asked.target == "/check":
        peer.reset()
    else:
        peer.send(RESPONSE)


def answer(response: bytes):
    """Answers the check with these bytes."""

    def play(peer: Peer, asked: Request) -> None:
        peer.send(response if asked.target == "/check" else RESPONSE)

    return play


CASES = {
    "no answer in time": (silent, f"request_headers={check(timeout=150)};return|1^"
                          f"http_call_response={LOOK};{GO_ON}"),
    "no answer": (broken, f"request_headers={check()};return|1^http_call_response={LOOK};{GO_ON}"),
    "an answer without a body": (
        answer(b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"),
        f"request_headers={check('question')};return|1^http_call_response={LOOK};{GO_ON}",
    ),
    "an answer in chunks": (
        answer(RESPONSE),
        f"request_headers={check()};return|1^http_call_response={LOOK};{GO_ON}",
    ),
    "several calls": (
        answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        f"request_headers={check()};{check()};{check()};proxy_set_tick_period_milliseconds|400;"
        f"return|1^tick={GO_ON}^http_call_response=proxy_get_header_map_value|6|:status",
    ),
    "calls in the log phase": (
        answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        f"log={check()}^http_call_response={LOOK};proxy_set_effective_context|@",
    ),
    "an answer to a stream that is gone": (
        answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        f"request_headers={check()};proxy_send_local_response|403|no|denied||-1^"
        f"http_call_response={LOOK};{GO_ON}",
    ),
    "an answer to the response phase": (
        answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        f"response_headers={check()};return|1^http_call_response={LOOK};"
        "proxy_set_effective_context|@;proxy_add_header_map_value|2|x-late|1;"
        "proxy_continue_stream|1",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with ExitStack() as stack:
        up = RecordingUpstream()
        stack.callback(lambda: up.stop(check=False))
        dead = stack.enter_context(RefusingPort()).port
        yield stack.enter_context(Both(configuration([Plugin()], up.port, dead), up))


@pytest.mark.parametrize("name", CASES)
def test_a_call_goes_as_in_envoy(both: Both, name: str):
    play, program = CASES[name]
    calls = 3 if name == "several calls" else 1
    commands = program.split("http_call_response=")[1].count(";") + 2
    seen = {}
    for kind, side in both.sides.items():
        seen[kind] = side.run(
            request(program), play=play, extra=("http_call_response", calls * commands)
        )
    if calls > 1:  # which answer comes first is chance
        for side in seen.values():
            side.lines.sort()
    # A GET on a connection that proves to be stale is sent once more, which Envoy does not.
    wrong = different(seen, lines_only=play is broken)
    assert not wrong, "\n".join(["", *wrong])


def test_a_copied_content_length_is_made_true(both: Both):
    """Envoy forwards it as it is, and such a call never ends."""
    header = "%0E%00%00%00%02%00%00%00"
    headers = CALL_HEADERS.replace("%03%00%00%00", "%04%00%00%00", 1).replace(
        ":method%00GET", ":method%00GET", 1
    )
    sizes, _, values = headers.partition(":method")
    headers = f"{sizes}{header}:method{values}content-length%0010%00"
    program = (
        f"request_headers=proxy_http_call|up|{headers}|||500;return|1^"
        f"http_call_response=proxy_get_header_map_value|6|:status;{GO_ON}"
    )
    side = both.sides["meshproxy"]
    seen = side.run(request(program), play=answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
    assert "probe http_call_response proxy_get_header_map_value(6|:status) 0 '200'" in seen.lines
    (called,) = [each for each in seen.upstream if each[1] == "/check"]
    assert "content-length" not in dict(called[2])
