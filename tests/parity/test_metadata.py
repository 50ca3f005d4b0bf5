"""METADATA of HTTP/2: passed on both ways in the same order, counted and refused as by Envoy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.parity.metadata_harness import MetadataPair as Both
from tests.parity.metadata_harness import to
from tests.support.http2_frames import END_HEADERS, data, frame, headers
from tests.support.raw_http2 import METADATA, metadata


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with ExitStack() as stack:
        yield Both(stack)


P, END = to("/x"), data(1, b"")
OK = headers(1, ((":status", "200"), ("x-up", "1")), END_HEADERS)
A, B, C = (metadata(1, [(name, name * 3)]) for name in "abc")
BROKEN = frame(METADATA, 4, 1, b"\xff" * 8)
TWO = metadata(1, [("a", "1"), ("b", "2")])[9:]
LONG = [(f"k{number}", "v" * 5000) for number in range(100)]

PASSED: dict[str, tuple[bytes, ...]] = {
    "one map": (P, A, END),
    "between pieces of a body": (P, A, data(1, b"x", 0), B, data(1, b"y", 0), C, END),
    "twice the same name": (P, metadata(1, [("a", "1"), ("a", "2")]), END),
    "names that no header has": (P, metadata(1, [("A", ":x"), (":path", "/"), ("n", "\0")]), END),
    "an empty map": (P, metadata(1, []), END),
    "in two frames": (P, frame(METADATA, 0, 1, TWO[:3]), frame(METADATA, 4, 1, TWO[3:]), END),
    "half a megabyte": (P, metadata(1, LONG), END),
    "without its last frame": (P, frame(METADATA, 0, 1, TWO), END),
    "with other flags": (P, frame(METADATA, 12, 1, TWO), END),
    "a table of its own": (P, frame(METADATA, 4, 1, b"\x40\x01a\x011\xbe"), END),
    "of no stream": (metadata(0, [("a", "1")]), metadata(5, [("a", "1")]), P, END),
    "after the end": (P, END, A),
}


@pytest.mark.parametrize("request_", PASSED.values(), ids=PASSED)
def test_metadata_of_a_request_is_passed_on(both: Both, request_: tuple[bytes, ...]) -> None:
    seen = both.run(*request_, answer=OK + END, at="main", to="up")
    assert seen["meshproxy"] == seen["envoy"]


ANSWERS = {
    "before the headers": A + OK + END,
    "between pieces of a body": OK + A + data(1, b"x", 0) + B + END,
    "before trailers": OK + A + headers(1, (("x-t", "1"),)),
    "an empty map": OK + metadata(1, []) + END,
    "broken, before the headers": BROKEN + OK + END,
    "broken, after the headers": OK + BROKEN + END,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_metadata_of_a_response_is_passed_on_or_ends_it(both: Both, answer: bytes) -> None:
    seen = both.run(P, END, answer=answer, at="main", to="up")
    assert seen["meshproxy"] == seen["envoy"]


@pytest.mark.parametrize(("at", "path"), [("without", "/x"), ("main", "/plain")])
def test_metadata_that_one_side_does_not_allow_is_dropped(both: Both, at: str, path: str) -> None:
    seen = both.run(to(path), A, END, answer=OK + B + END, at=at, to="up")
    assert seen["meshproxy"] == seen["envoy"]
    assert not [each for each in seen["envoy"]["upstream"] if each[0] == "metadata"]


@pytest.mark.parametrize("path", ["/one", "/direct"])
def test_metadata_that_nobody_takes_is_dropped(both: Both, path: str) -> None:
    seen = both.run(to(path), A, END, answer=b"", at="main", to="")
    # A response that comes before the request's end is followed by a reset here.
    assert seen["meshproxy"]["client"][0] == seen["envoy"]["client"][0]
    assert seen["meshproxy"]["counters"] == seen["envoy"]["counters"]


REFUSED: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "cut off in a field": ("main", (P, frame(METADATA, 4, 1, TWO[:8]), END)),
    "not HPACK": ("main", (P, BROKEN, END)),
    "an index into another map's table":
        ("main", (P, frame(METADATA, 4, 1, b"\x40\x01a\x011"), frame(METADATA, 4, 1, b"\xbe"))),
    "more than a megabyte":
        ("main", (P, metadata(1, [*LONG, *((f"x{name}", value) for name, value in LONG),
                                 *((f"y{name}", value) for name, value in LONG[:20])]), END)),
    "more than a megabyte in all":
        ("main", (P, metadata(1, LONG), metadata(1, LONG), metadata(1, LONG[:20]), END)),
    "more than is configured": ("small", (P, metadata(1, [("a", "1" * 200)]), END)),
    "more than is configured in all": ("small", (P, metadata(1, [("a", "1" * 50)]) * 2, END)),
}  # fmt: skip


@pytest.mark.parametrize(("at", "request_"), REFUSED.values(), ids=REFUSED)
def test_metadata_that_is_none_or_too_large_ends_the_connection(
    both: Both, at: str, request_: tuple[bytes, ...]
) -> None:
    seen = both.run(*request_, answer=b"", at=at, to="")
    assert [each["client"][-1] for each in seen.values()] == [("closed",)] * 2
    assert seen["meshproxy"]["counters"] == seen["envoy"]["counters"]
    assert seen["envoy"]["counters"] == {f"http.{at}.downstream_cx_protocol_error": 1}


LATER = "proxy_set_tick_period_milliseconds|50;return|1^tick=proxy_set_effective_context|@;{}"
PROGRAMS: dict[str, tuple[str, tuple[bytes, ...], bytes]] = {
    "let pass": ("", (A, data(1, b"x", 0), B, END), A + OK + B + data(1, b"y", 0) + C + END),
    "headers wait":
        (f"request_headers={LATER.format('proxy_continue_stream|0')}",
         (A, data(1, b"x", 0), B, END), OK + END),
    "body waits":
        ("request_body=return|1^request_body_end=return|0", (A, data(1, b"x", 0), B, END),
         OK + END),
    "response headers wait":
        (f"response_headers={LATER.format('proxy_continue_stream|1')}", (END,),
         A + OK + B + data(1, b"y", 0) + C + END),
    "its answer does not count":
        ("request_metadata=return|1^response_metadata=return|1", (A, B, END), OK + C + END),
    "maps and bodies are out of reach":
        ("request_metadata=proxy_get_header_map_pairs|0;proxy_get_buffer_status|0^"
         "response_metadata=proxy_get_header_map_value|2|:status;proxy_get_buffer_status|1",
         (A, END), OK + C + END),
    "what waits is there":
        ("request_body=return|1^request_body_end=return|0^"
         "request_metadata=proxy_get_buffer_bytes|0|0|9", (data(1, b"xy", 0), A, END), OK + END),
}  # fmt: skip


@pytest.mark.parametrize(("program", "request_", "answer"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_filter_is_shown_metadata_where_envoy_shows_it(
    both: Both, program: str, request_: tuple[bytes, ...], answer: bytes
) -> None:
    begin = to("/x", ("x-probe", program))
    seen = both.run(begin, *request_, answer=answer, at="probe", to="up")
    assert seen["meshproxy"] == seen["envoy"]


DECIDED = {
    "an answer": "request_metadata=proxy_send_local_response|403|d|b||-1",
    "the end": "request_metadata=proxy_close_stream|0",
}


@pytest.mark.parametrize("program", DECIDED.values(), ids=DECIDED)
def test_a_filter_may_end_a_stream_at_its_metadata(both: Both, program: str) -> None:
    begin = to("/x", ("x-probe", program))
    seen = both.run(begin, A, B, END, answer=b"", at="probe", to="")
    assert seen["meshproxy"] == seen["envoy"]
