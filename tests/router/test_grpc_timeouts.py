"""Whose time counts: the route's, the client's `grpc-timeout`, or the larger of limits."""

from __future__ import annotations

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.router.grpc_timeouts import RequestTimes, StreamDuration, header_timeout


def request(timeout: str | None, content_type: str = "application/grpc") -> HeaderMap:
    headers = HeaderMap([(b"content-type", content_type.encode())])
    if timeout is not None:
        headers.add(b"grpc-timeout", timeout.encode())
    return headers


@pytest.mark.parametrize(
    ("longest", "offset", "asked", "expected"),
    [
        (10, 0, "5S", 5),
        (10, 0, "50S", 10),
        (10, 0, None, 10),
        (10, 0, "0S", 10),
        (10, 0, "junk", 10),
        (0, 0, "50S", 50),
        (0, 0, None, 0),
        (10, 1, "5S", 4),
        (10, 1, "1S", 1),
        (10, 1, "500m", 0.5),
    ],
)
def test_max_grpc_timeout_bounds_what_the_client_asks(longest, offset, asked, expected):
    times = RequestTimes(max_grpc_timeout=longest, grpc_timeout_offset=offset)
    assert times.timeout(request(asked), 15.0) == (expected, True)


def test_only_grpc_has_a_grpc_timeout():
    times = RequestTimes(max_grpc_timeout=1)
    assert times.timeout(request("5S", "text/plain"), 15.0) == (15.0, False)
    assert times.timeout(HeaderMap(), 15.0) == (15.0, False)


def test_a_stream_duration_replaces_the_routes_timeout():
    assert RequestTimes(stream=StreamDuration(duration=3)).timeout(request("5S"), 15.0) == (
        0.0,
        False,
    )


@pytest.mark.parametrize(
    ("duration", "asked", "expected"),
    [
        (StreamDuration(duration=3), "1S", 3),
        (StreamDuration(duration=3), None, 3),
        (StreamDuration(), "1S", None),
        (StreamDuration(duration=3, grpc_header_max=10), "5S", 5),
        (StreamDuration(duration=3, grpc_header_max=10), "50S", 10),
        (StreamDuration(duration=3, grpc_header_max=0), "50S", 50),
        (StreamDuration(duration=3, grpc_header_max=10), None, 3),
        (StreamDuration(grpc_header_max=10, grpc_header_offset=2), "5S", 3),
        (StreamDuration(grpc_header_max=10, grpc_header_offset=9), "5S", 5),
    ],
)
def test_the_life_of_a_stream(duration, asked, expected):
    assert duration.of(request(asked)) == expected


@pytest.mark.parametrize(("value", "seconds"), [("1n", 0.001), ("1500u", 0.002), ("7m", 0.007)])
def test_milliseconds_are_rounded_up(value, seconds):
    assert header_timeout(request(value)) == seconds
