"""One direction of a filter chain: who has seen what, who stopped it, and what is held back.

Owns Envoy's iteration rules (source/common/http/filter_manager): the meaning of every status,
resuming,
and the one buffer that all filters of a direction share. Refuses to know requests from responses: a
stream has one path that ends in its router and one that ends in its codec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    CONTINUE_AND_DONT_END_STREAM,
    DECODING,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    STOP_ITERATION_AND_WATERMARK,
    STOP_ITERATION_NO_BUFFER,
    HttpFilter,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap

HeadersCall = Callable[[Any, HeaderMap, bool], int]
DataCall = Callable[[Any, Buffer, bool], int]
TrailersCall = Callable[[Any, HeaderMap], int]
MetadataCall = Callable[[Any, MetadataMap], None]

# So many maps wait for one filter to go on.
MAX_WAITING: Final = 1000

# Where one filter of the path is.
_GOING: Final = 0
_STOPPED: Final = 1  # it stopped its own turn; data and trailers are still shown to it
_STOPPED_ALL: Final = 2  # nothing more is shown to it before it continues


class PathEnd(Protocol):
    """What a path leads to, and who is told that too much is held back."""

    def headers_through(self, headers: HeaderMap, end_stream: bool) -> None:
        """Headers that every filter has let pass."""

    def data_through(self, data: bytes, end_stream: bool) -> None:
        """Body bytes that every filter has let pass."""

    def trailers_through(self, trailers: HeaderMap) -> None:
        """Trailers that every filter has let pass."""

    def metadata_through(self, metadata: MetadataMap) -> None:
        """METADATA that every filter has been shown."""

    def buffer_high(self, may_wait: bool) -> None:
        """More than the limit is held back. `may_wait`: the sender may be made to wait."""

    def buffer_low(self) -> None:
        """What was held back has gone on."""


FilterKind = tuple[type[HttpFilter], frozenset[str]]


class PathCalls:
    """What filters of these kinds are asked in one direction, by their order in it.

    A kind is a class and the phases in which a filter of it is silent. The calls are the classes'
    own functions; None stands for a filter that has nothing to say.
    """

    __slots__ = ("data", "headers", "metadata", "metadata_follows", "trailers", "watches_data")

    def __init__(self, kinds: Sequence[FilterKind], phases: tuple[str, str, str, str]) -> None:
        self.headers: list[HeadersCall | None] = [_call(kind, phases[0]) for kind in kinds]
        self.data: list[DataCall | None] = [_call(kind, phases[1]) for kind in kinds]
        self.trailers: list[TrailersCall | None] = [_call(kind, phases[2]) for kind in kinds]
        self.metadata: list[MetadataCall | None] = [_call(kind, phases[3]) for kind in kinds]
        # What a request's path ends in is a filter, too, and sees headers first. A codec does not.
        self.metadata_follows = phases[3] == DECODING[3]  # compiled, a tuple has no identity
        self.watches_data = any(self.data)  # some filter wants to see the body


def _call(kind: FilterKind, phase: str) -> Any:
    """The function of a kind for a phase, None where it leaves that phase alone."""
    of_class, silent = kind
    found = getattr(of_class, phase)
    return None if phase in silent or found is getattr(StreamFilter, phase) else found


class FilterPath:
    """The filters of one stream in one direction, in the order in which they are asked."""

    __slots__ = (
        "_at_high",
        "_calls",
        "_end",
        "_filters",
        "_headers_seen",
        "_kept",
        "_may_wait",
        "_states",
        "aborted",
        "buffer",
        "complete",
        "headers",
        "last_data",
        "limit",
        "trailers",
        "watches_data",
    )

    def __init__(
        self,
        end: PathEnd,
        limit: int,
        filters: list[HttpFilter],
        calls: PathCalls,
    ) -> None:
        self._end = end
        self.limit = limit
        self._filters = filters
        self._calls = calls
        self.watches_data = calls.watches_data
        self._states = [_GOING] * len(filters)
        self._headers_seen = [False] * len(filters)  # and have gone on from there
        self._headers_seen.append(not calls.metadata_follows)
        self._kept: dict[int, list[MetadataMap]] | None = None  # METADATA, by who is to see it
        self._may_wait = False
        self._at_high = False
        self.headers: HeaderMap | None = None
        self.trailers: HeaderMap | None = None
        self.buffer: Buffer | None = None
        self.complete = False  # the sender has sent everything
        self.aborted = False  # nothing may move on this path any more
        self.last_data = False  # the last body bytes are being shown: trailers may be made

    def end(self) -> None:
        """The stream has ended. Lets go of the filters, which hold on to the path in turn."""
        self.aborted = True
        self._filters = []
        self.buffer = None

    # -- what arrives ------------------------------------------------------------------------

    def send_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Headers arrive."""
        self.headers = headers
        self.complete = end_stream
        self._headers_from(0, headers, end_stream)

    def send_data(self, data: bytes, end_stream: bool) -> None:
        """Body bytes arrive."""
        self.complete = end_stream
        if self.watches_data or self.buffer is not None or any(self._states):
            self._data_from(0, Buffer(data), end_stream)
        elif data or end_stream:
            # hot: most filters look at headers only; 4 us of the 30 that one adds to a request.
            self._end.data_through(data, end_stream)

    def send_trailers(self, trailers: HeaderMap) -> None:
        """Trailers arrive."""
        self.complete = True
        self.trailers = trailers
        self._trailers_from(0, trailers)

    def send_metadata(self, metadata: MetadataMap) -> None:
        """METADATA arrives."""
        self._metadata_from(0, metadata)

    def resume(self, index: int) -> None:
        """The filter at `index` lets go of what it stopped; nothing happens if it stopped
        nothing."""
        state = self._states[index]
        if self.aborted or state == _GOING:
            return
        self._states[index] = _GOING
        # A filter that stopped everything has not been shown the body that is held back.
        start = index if state == _STOPPED_ALL else index + 1
        had_trailers = self.trailers is not None
        if not self._headers_seen[index]:
            self._headers_seen[index] = True
            assert self.headers is not None
            alone = self.complete and self.buffer is None and not had_trailers
            self._headers_from(index + 1, self.headers, alone)
        if self._kept is not None and not self._is_aborted():
            self._show_kept(index)
        if self.buffer is not None and not self._is_aborted():
            self._data_from(start, self.buffer, self.complete and not had_trailers)
        if had_trailers and not self._is_aborted():
            assert self.trailers is not None
            self._trailers_from(start, self.trailers)

    def _is_aborted(self) -> bool:
        # A call, so that type checkers believe it can change while filters are being asked.
        return self.aborted

    def is_stopped(self, index: int) -> bool:
        """True while the filter at `index` holds something back."""
        return self._states[index] != _GOING

    def make_trailers(self) -> HeaderMap:
        """Trailers for a message that came without; they follow the bytes being shown right now."""
        if self.trailers is None:
            self.trailers = HeaderMap()
        return self.trailers

    def add_message(self, data: bytes, trailers: HeaderMap) -> None:
        """A body and trailers for a message that has neither, while its headers are shown."""
        self.buffer = Buffer(data)
        self.trailers = trailers

    def inject(self, index: int, data: bytes) -> None:
        """Body bytes of the filter at `index`, for those after it; the trailers follow."""
        self._data_from(index + 1, Buffer(data), False)

    # -- the three turns ---------------------------------------------------------------------

    def _headers_from(self, index: int, headers: HeaderMap, end_stream: bool) -> None:
        filters, calls = self._filters, self._calls.headers
        body_from = -1  # a filter added a body to a message that has none
        while index < len(filters):
            call = calls[index]
            last = end_stream and body_from < 0
            status = CONTINUE if call is None else call(filters[index], headers, last)
            if self.aborted:
                return
            if status != CONTINUE and status != CONTINUE_AND_DONT_END_STREAM:
                if status == STOP_ITERATION:
                    self._states[index] = _STOPPED
                    if self._kept is not None:
                        self._show_kept(index)
                else:
                    self._states[index] = _STOPPED_ALL
                    self._may_wait = status == STOP_ALL_ITERATION_AND_WATERMARK
                return
            self._headers_seen[index] = True
            if status == CONTINUE_AND_DONT_END_STREAM:
                end_stream = False
            if last and self.buffer is not None:
                body_from = index
            if self._kept is not None:
                self._show_kept(index)
                if self._is_aborted():
                    return
            index += 1
        self._end.headers_through(headers, end_stream and body_from < 0)
        self._headers_seen[index] = True
        if self._kept is not None and not self._is_aborted():
            self._show_kept(index)
        if body_from >= 0 and self.buffer is not None and not self.aborted:
            trailers = self.trailers  # of that body
            self._data_from(body_from + 1, self.buffer, trailers is None)
            if trailers is not None and not self._is_aborted():
                self._trailers_from(body_from + 1, trailers)

    def _data_from(self, index: int, data: Buffer, end_stream: bool) -> None:
        filters, calls = self._filters, self._calls.data
        trailers_after = -1
        while index < len(filters):
            state = self._states[index]
            if state == _STOPPED_ALL:
                self._hold(data)
                return
            call = calls[index]
            if call is not None:
                before = self.trailers
                self.last_data = end_stream
                status = call(filters[index], data, end_stream)
                self.last_data = False
                if self.aborted:
                    return
                if end_stream and before is None and self.trailers is not None:
                    trailers_after = index
                    end_stream = False
                if status != CONTINUE:
                    self._stop_data(index, status, data)
                    return
            if state == _STOPPED:
                self._hold(data)
                self.resume(index)
                return
            index += 1
        self._pass_data(data, end_stream)
        if trailers_after >= 0 and self.trailers is not None and not self.aborted:
            self._trailers_from(trailers_after + 1, self.trailers)

    def _stop_data(self, index: int, status: int, data: Buffer) -> None:
        self._states[index] = _STOPPED
        if status != STOP_ITERATION_NO_BUFFER:
            self._may_wait = status == STOP_ITERATION_AND_WATERMARK
            self._hold(data)
        elif self.complete and self.trailers is None and self.buffer is None:
            # So that continuing later still ends the message, with an empty last piece.
            self.buffer = Buffer()

    def _trailers_from(self, index: int, trailers: HeaderMap) -> None:
        filters, calls = self._filters, self._calls.trailers
        while index < len(filters):
            state = self._states[index]
            if state == _STOPPED_ALL:
                return
            call = calls[index]
            status = CONTINUE if call is None else call(filters[index], trailers)
            if self.aborted:
                return
            if status != CONTINUE:
                self._states[index] = _STOPPED
                return
            if state == _STOPPED:
                self.resume(index)
                return
            index += 1
        self._end.trailers_through(trailers)

    def _metadata_from(self, index: int, metadata: MetadataMap) -> None:
        filters, calls = self._filters, self._calls.metadata
        last = len(filters)
        while index < last:
            state = self._states[index]
            if state == _STOPPED_ALL or (state == _GOING and not self._headers_seen[index]):
                self._keep_metadata(index, metadata)
                return
            call = calls[index]
            if call is not None:
                call(filters[index], metadata)
                if self.aborted:
                    return
            index += 1
        if self._headers_seen[last]:
            self._end.metadata_through(metadata)
        else:
            self._keep_metadata(last, metadata)

    def _keep_metadata(self, index: int, metadata: MetadataMap) -> None:
        if self._kept is None:
            self._kept = {}
        waiting = self._kept.setdefault(index, [])
        waiting.append(metadata)
        if len(waiting) > MAX_WAITING:
            waiting.clear()
            self._end.buffer_high(False)

    def _show_kept(self, index: int) -> None:
        """What came before this filter had its headers, or while it had stopped everything."""
        assert self._kept is not None
        for metadata in self._kept.pop(index, ()):
            self._metadata_from(index, metadata)
            if self._is_aborted():
                return

    # -- what is held back -------------------------------------------------------------------

    def _hold(self, data: Buffer) -> None:
        held = self.buffer
        if held is None:
            # A buffer of its own: `data` may live on in its sender's hands.
            self.buffer = held = Buffer()
        if data is not held:
            held.append_buffer(data)
        if held.length > self.limit and not self._at_high:
            self._at_high = self._may_wait
            self._end.buffer_high(self._may_wait)

    def _pass_data(self, data: Buffer, end_stream: bool) -> None:
        if data is self.buffer:
            self.buffer = None
        if self._at_high and self.buffer is None:
            self._at_high = False
            self._end.buffer_low()
        if data.length or end_stream:
            self._end.data_through(data.take(), end_stream)
