"""A stream for filters under test: records what they ask for, iterates one filter as a stream
would.

Owns nothing that the real stream decides about several filters; for that there are the integration
tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from meshproxy.http.buffer import Buffer
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import HTTP11, StreamInfo


class FakeDispatcher:
    """A clock that stands still, and timers that `advance` runs."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        return self.seconds

    def time(self) -> float:
        return 1_700_000_000.0 + self.seconds

    def random(self) -> int:
        return 4

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = (self.seconds + seconds, len(self.timers), callback)
        self.timers.append(timer)
        return FakeTimer(self, timer)

    def spawn(self, coroutine: Any, name: str) -> Any:
        raise AssertionError(f"nothing should spawn {name}")

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.seconds + seconds
        while self.timers and min(self.timers)[0] <= end:
            due = min(self.timers)
            self.timers.remove(due)
            self.seconds = max(self.seconds, due[0])
            due[2]()
        self.seconds = end


class FakeTimer:
    def __init__(self, owner: FakeDispatcher, timer: Any) -> None:
        self._owner = owner
        self._timer = timer

    def cancel(self) -> None:
        with contextlib.suppress(ValueError):
            self._owner.timers.remove(self._timer)


class FakeCallbacks:
    """`http.filter.FilterCallbacks` for one filter; `events` says what was asked for."""

    def __init__(self) -> None:
        self.info = StreamInfo()
        self.info.protocol = HTTP11
        self.events: list[Any] = []
        self.reply: LocalReply | None = None
        self.decoding_buffer: Buffer | None = None
        self.encoding_buffer: Buffer | None = None
        self.buffer_limit = 1 << 20
        self.last_data = False
        self.route = None
        self.headers_sent = False
        self.changed_headers: list[bytes] = []

    def set_decoding_buffer_limit(self, limit: int) -> None:
        self.events.append(f"limit {limit}")

    def continue_decoding(self) -> None:
        self.events.append("continue_decoding")

    def continue_encoding(self) -> None:
        self.events.append("continue_encoding")

    def send_local_reply(self, reply: LocalReply) -> None:
        self.reply = reply
        self.events.append(reply.status)

    def reset_stream(self, details: str) -> None:
        self.events.append(details)

    def add_decoded_trailers(self) -> HeaderMap:
        self._need_last_data()
        self.info.request_trailers = HeaderMap()
        return self.info.request_trailers

    def add_encoded_trailers(self) -> HeaderMap:
        self._need_last_data()
        self.info.response_trailers = HeaderMap()
        return self.info.response_trailers

    def _need_last_data(self) -> None:
        if not self.last_data:
            raise ValueError("trailers can be added with the last body bytes only")

    def clear_route_cache(self) -> None:
        self.events.append("clear_route_cache")

    def request_headers_changed(self, names: Iterable[bytes]) -> None:
        self.changed_headers += names

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        raise AssertionError("not used")

    def spawn(self, coroutine: Any, name: str) -> None:
        raise AssertionError("not used")
