"""METADATA on a filter path: it follows headers, waits for who stopped everything, no longer."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.http.filter import (
    CONTINUE,
    DECODING,
    ENCODING,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    StreamFilter,
)
from meshproxy.http.filter_path import MAX_WAITING, FilterPath, PathCalls
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap

A, B = {b"a": b"1"}, {b"b": b"1"}


class End:
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def headers_through(self, headers: HeaderMap, end_stream: bool) -> None:
        self.seen.append("end headers")

    def data_through(self, data: bytes, end_stream: bool) -> None:
        self.seen.append("end data")

    def trailers_through(self, trailers: HeaderMap) -> None:
        self.seen.append("end trailers")

    def metadata_through(self, metadata: MetadataMap) -> None:
        self.seen.append(f"end {next(iter(metadata)).decode()}")

    def buffer_high(self, may_wait: bool) -> None:
        self.seen.append("too much")

    def buffer_low(self) -> None:
        pass


class Filter(StreamFilter):
    """Writes down what it sees, and stops headers as it is told."""

    status = CONTINUE

    def __init__(self, name: str, seen: list[Any]) -> None:
        self.name = name
        self.seen = seen

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        self.seen.append(f"{self.name} headers")
        return self.status

    encode_headers = decode_headers

    def decode_metadata(self, metadata: MetadataMap) -> None:
        self.seen.append(f"{self.name} {next(iter(metadata)).decode()}")

    encode_metadata = decode_metadata


def path_of(count: int, phases: tuple[str, str, str, str]) -> tuple[FilterPath, list, list[Any]]:
    seen: list[Any] = []
    filters = [Filter(str(number), seen) for number in range(count)]
    calls = PathCalls([(Filter, frozenset())] * count, phases)
    return FilterPath(End(seen), 100, list(filters), calls), filters, seen


def test_before_the_headers_a_codec_gets_it_at_once_and_a_filter_does_not():
    path, _, seen = path_of(0, ENCODING)
    path.send_metadata(A)
    assert seen == ["end a"]
    path, _, seen = path_of(1, DECODING)
    path.send_metadata(A)
    assert seen == []
    path.send_headers(HeaderMap(), False)
    assert seen == ["0 headers", "0 a", "end headers", "end a"]


def test_in_front_of_a_codec_it_overtakes_the_headers_that_brought_it_through():
    path, _, seen = path_of(2, ENCODING)
    path.send_metadata(A)
    path.send_headers(HeaderMap(), False)
    assert seen == ["0 headers", "0 a", "1 headers", "1 a", "end a", "end headers"]


def test_who_stops_everything_is_shown_it_when_going_on():
    path, filters, seen = path_of(2, DECODING)
    filters[0].status = STOP_ALL_ITERATION_AND_WATERMARK
    path.send_headers(HeaderMap(), False)
    path.send_metadata(A)
    path.send_metadata(B)
    assert seen == ["0 headers"]
    path.resume(0)
    assert seen == ["0 headers", "1 headers", "end headers", "0 a", "1 a", "end a",
                    "0 b", "1 b", "end b"]  # fmt: skip


def test_who_stops_its_own_turn_is_shown_it_and_the_next_one_waits_for_headers():
    path, filters, seen = path_of(2, DECODING)
    filters[0].status = STOP_ITERATION
    path.send_metadata(A)
    path.send_headers(HeaderMap(), False)
    path.send_metadata(B)
    assert seen == ["0 headers", "0 a", "0 b"]
    path.resume(0)
    assert seen[3:] == ["1 headers", "1 a", "1 b", "end headers", "end a", "end b"]


@pytest.mark.parametrize("waits_for", ["headers", "filter"])
def test_so_much_waits_and_no_more(waits_for):
    path, filters, seen = path_of(1, DECODING)
    if waits_for == "filter":
        filters[0].status = STOP_ALL_ITERATION_AND_WATERMARK
        path.send_headers(HeaderMap(), False)
    for _ in range(MAX_WAITING):
        path.send_metadata(A)
    assert "too much" not in seen
    path.send_metadata(A)
    assert seen[-1] == "too much"


def test_what_is_aborted_is_shown_no_more():
    path, filters, seen = path_of(2, DECODING)
    path.send_headers(HeaderMap(), False)
    filters[0].decode_metadata = None  # the class's is called
    original = Filter.decode_metadata

    def answers(self: Filter, metadata: MetadataMap) -> None:
        original(self, metadata)
        path.aborted = True

    calls = path._calls.metadata
    calls[0] = answers
    path.send_metadata(A)
    assert seen[-1] == "0 a"
