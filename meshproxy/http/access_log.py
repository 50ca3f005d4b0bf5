"""The access log: one line per finished stream, when its filter says so.

Owns which streams are logged (Envoy's access log filters, compiled to predicates). Refuses to know
the text of a line (`http/formatter.py`) and what becomes of it (`http/log_file.py`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.stream_info import StreamInfo

AccessLogFilter = Callable[["StreamInfo"], bool]
"""Whether a finished stream is logged."""

COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "EQ": operator.eq,
    "GE": operator.ge,
    "LE": operator.le,
    "NE": operator.ne,
}
"""`ComparisonFilter.Op`: the fact on the left, the configured value on the right."""


class AccessLog:
    """One entry of `access_log`: a line into a sink, for the streams that pass the filter.

    `render` makes the whole line, its newline included; `write` takes it and never blocks
    (`LogFile.write`).
    """

    __slots__ = ("_passes", "_render", "_write")

    def __init__(
        self,
        write: Callable[[bytes], None],
        render: Callable[[StreamInfo], bytes],
        passes: AccessLogFilter | None = None,
    ) -> None:
        self._write = write
        self._render = render
        self._passes = passes

    def log(self, info: StreamInfo) -> None:
        """Log a stream whose facts are final."""
        if self._passes is None or self._passes(info):
            self._write(self._render(info))


def text_line(render: Callable[[StreamInfo], str]) -> Callable[[StreamInfo], bytes]:
    """The bytes of a compiled `text_format`; what came from the wire leaves as it came."""
    return lambda info: render(info).encode("utf-8", "surrogateescape")


def status_code_filter(op: str, value: int) -> AccessLogFilter:
    """`status_code_filter`: a stream without an answer has the code 0."""
    compare = COMPARISONS[op]
    return lambda info: compare(info.response_code or 0, value)


def duration_filter(op: str, milliseconds: int) -> AccessLogFilter:
    """`duration_filter`: from the first byte of the request to the end of the stream."""
    compare = COMPARISONS[op]
    return lambda info: compare(duration_ms(info), milliseconds)


def response_flag_filter(flags: int) -> AccessLogFilter:
    """`response_flag_filter`: any of these `ResponseFlag` bits; any at all where none is given."""
    if not flags:
        return lambda info: info.response_flags != 0
    return lambda info: info.response_flags & flags != 0


def header_filter(matches: Callable[[HeaderMap], bool]) -> AccessLogFilter:
    """`header_filter`: what the compiled header matcher says of the request."""
    return lambda info: info.request_headers is not None and matches(info.request_headers)


def not_health_check_filter() -> AccessLogFilter:
    """`not_health_check_filter`: everything but health checks."""
    return lambda info: not info.health_check


def runtime_filter(
    numerator: int,
    denominator: int,
    random: Callable[[], int],
    *,
    use_independent_randomness: bool = False,
) -> AccessLogFilter:
    """`runtime_filter`: this fraction of the streams.

    Every log on the path picks the same streams, by the request id, unless the randomness is to be
    independent or the id is none of ours.
    """

    def passes(info: StreamInfo) -> bool:
        stable = None if use_independent_randomness else _stable_random(info.request_id)
        return (random() if stable is None else stable) % denominator < numerator

    return passes


def log_type_filter(types: Collection[str], *, exclude: bool = False) -> AccessLogFilter:
    """`log_type_filter`: lines are only written at the end of a stream (`DownstreamEnd`)."""
    passes = ("DownstreamEnd" in types) != exclude
    return lambda info: passes


def and_filter(filters: Sequence[AccessLogFilter]) -> AccessLogFilter:
    """`and_filter`: all of them, asked in order."""
    return lambda info: all(passes(info) for passes in filters)


def or_filter(filters: Sequence[AccessLogFilter]) -> AccessLogFilter:
    """`or_filter`: any of them, asked in order."""
    return lambda info: any(passes(info) for passes in filters)


def duration_ms(info: StreamInfo) -> int:
    """Whole milliseconds from the start of a stream to the last thing that happened in it."""
    ends = (info.response_end, info.upstream_response_end, info.request_complete)
    end = next((moment for moment in ends if moment is not None), info.start)
    return int((end - info.start) * 1000)


def _stable_random(request_id: bytes | None) -> int | None:
    """The first 32 bits of a request id, or None where it does not begin with eight hex digits."""
    if request_id is None or len(request_id) < 8:
        return None
    try:
        return int(request_id[:8], 16)
    except ValueError:
        return None
