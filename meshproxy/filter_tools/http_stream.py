"""One request and its answer, sent through filters phase by phase.

Owns the order in which phases may be sent, and the views of what came out. Refuses to know how
filters are loaded (`harness.py`); the stream in between is `http/stream.py`, unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from meshproxy.filter_tools.ends import VIA_UPSTREAM, Downstream, FakeConnection, Tap, Upstream
from meshproxy.filter_tools.messages import (
    Headers,
    HeadersInput,
    Message,
    Response,
    raw,
    raw_pairs,
    with_length,
)
from meshproxy.http.conn_manager import HttpConnectionManager
from meshproxy.http.downstream import Http1Connection
from meshproxy.http.filter_chain import FilterChain
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.peer_info import PeerInfo
from meshproxy.http.stream import Stream

if TYPE_CHECKING:
    from meshproxy.http.filter import FilterFactory, HttpFilter
    from meshproxy.http.filter_chain import ActiveFilter

AUTHORITY: Final = "example.com"


class OutOfOrder(Exception):  # named for what happened, as in the data plane's own vocabulary
    """A phase was sent that cannot come now; the text says why."""


class HttpStream:
    """One stream through one filter, or through a chain of them.

    Send phases with `request_headers`, `request_body`, `request_trailers`, `response_headers`,
    `response_body`, `response_trailers`; every call returns when all filters have done what they
    do at once. What they did is in `upstream` and `downstream` at any time.
    """

    def __init__(
        self,
        manager: HttpConnectionManager,
        factories: Sequence[FilterFactory],
        buffer_limit: int,
        settle: Callable[[], None],
        source: str = "",
    ) -> None:
        """`settle` runs what is due now; `source` is the client's address. The harness makes
        streams (`harness.py`).
        """
        self._settle = settle
        self._sent = Message()  # which parts of the request have been sent
        self._answered = Message()  # the upstream's answer
        self._tap = Tap()
        self._client = Downstream()
        self._terminal: Upstream | None = None
        self._filters: list[HttpFilter] = []
        kept = [partial(self._keep, factory) for factory in factories]
        manager.chain = FilterChain([lambda: self._tap, *kept], self._end, buffer_limit)
        connection = Http1Connection(manager)
        connection.peer = PeerInfo(FakeConnection(source))
        self._stream = cast(Stream, connection.new_stream(self._client))

    def _keep(self, factory: FilterFactory) -> HttpFilter:
        made = factory()
        self._filters.append(made)
        return made

    def _end(self, stream: Stream) -> Upstream:
        self._terminal = made = Upstream(stream)
        return made

    # -- what came out -------------------------------------------------------------------------

    @property
    def upstream(self) -> Message:
        """The request that the upstream has got so far."""
        return self._terminal.request if self._terminal is not None else Message()

    @property
    def cluster(self) -> str:
        """The cluster that the request went to; empty before."""
        return self._terminal.cluster if self._terminal is not None else ""

    @property
    def downstream(self) -> Message:
        """The answer that the client has got so far."""
        return self._client.answer

    @property
    def seen_by_filters(self) -> tuple[Message, Message]:
        """The request before the first filter, the answer after the last one.

        They differ from what was sent and received by what the proxy itself adds.
        """
        return self._tap.request, self._tap.answer

    @property
    def upstream_answer(self) -> Message:
        """The upstream's answer, before the filters."""
        return self._answered

    @property
    def local_reply(self) -> Message | None:
        """The answer, where a filter (or the proxy) gave it instead of the upstream."""
        answer = self.downstream
        if answer.headers is None or self.response_code_details == VIA_UPSTREAM:
            return None
        return answer

    @property
    def response_code_details(self) -> str:
        """Who answered and why (`%RESPONSE_CODE_DETAILS%`): `via_upstream`, or a local reply's."""
        return self._stream.info.response_code_details or ""

    @property
    def dynamic_metadata(self) -> dict[str, dict[str, Any]]:
        """The stream's dynamic metadata by namespace, as the filters have left it."""
        return self._stream.info.dynamic_metadata or {}

    @property
    def filter_state(self) -> dict[str, bytes]:
        """The stream's filter state; what `proxy_set_property` sets begins with `wasm.`."""
        return self._stream.info.filter_state or {}

    def set_dynamic_metadata(self, namespace: str, key: str, value: object) -> None:
        """Set what a filter before this one would have set. Before the request's headers."""
        self._stream.info.set_dynamic_metadata(namespace, key, value)

    @property
    def ended(self) -> bool:
        """True when the stream is over: the filters have seen `proxy_on_log` and the rest."""
        return self._stream.response_complete

    @property
    def request_paused(self) -> bool:
        """True while a filter holds the request back."""
        return not self.ended and any(each.is_decoding_stopped() for each in self._active())

    @property
    def response_paused(self) -> bool:
        """True while a filter holds the answer back."""
        return not self.ended and any(each.is_encoding_stopped() for each in self._active())

    # -- the request ---------------------------------------------------------------------------

    def request_headers(
        self,
        method: str = "GET",
        path: str = "/",
        headers: HeadersInput = (),
        *,
        end_stream: bool = False,
        authority: str = AUTHORITY,
        scheme: str = "http",
    ) -> None:
        """Send the request's headers. `end_stream`: there is no body."""
        if self._sent.headers is not None:
            raise OutOfOrder("the request's headers have been sent already")
        if self.ended:
            raise OutOfOrder("the client has gone away")
        pairs = raw_pairs(headers)
        pseudo = {":authority": authority, ":path": path, ":method": method, ":scheme": scheme}
        host = [value for name, value in pairs if name == b"host"]
        if host:
            pairs = [pair for pair in pairs if pair[0] != b"host"]
            pseudo[":authority"] = host[0].decode("utf-8", "surrogateescape")
        self._sent = Message(Headers(), complete=end_stream)
        self._stream.decode_headers(HeaderMap(raw_pairs(pseudo) + pairs), end_stream)
        self._settle()

    def request_body(self, data: bytes | str = b"", *, end_stream: bool = False) -> None:
        """Send a piece of the request's body, as one read from the connection would bring it."""
        self._more(self._sent, "request")
        self._sent.complete = end_stream
        if not self.ended:
            self._stream.decode_data(raw(data), end_stream)
        self._settle()

    def request_trailers(self, trailers: HeadersInput) -> None:
        """Send the request's trailers, which end it."""
        self._more(self._sent, "request")
        self._sent.complete = True
        if not self.ended:
            self._stream.decode_trailers(HeaderMap(raw_pairs(trailers)))
        self._settle()

    def disconnect(self) -> None:
        """The client goes away: filters see the end of the stream, and no answer."""
        if not self.ended:
            self._stream.on_reset("downstream_remote_disconnect")
        self._settle()

    # -- the upstream's answer -----------------------------------------------------------------

    def response_headers(
        self, status: int = 200, headers: HeadersInput = (), *, end_stream: bool = False
    ) -> None:
        """Let the upstream answer. Raises OutOfOrder where the request has not come that far."""
        if self._answered.headers is not None:
            raise OutOfOrder("the response's headers have been sent already")
        self._need_upstream()
        stream = self._stream
        stream.info.response_code_details = VIA_UPSTREAM
        stream.info.upstream_response_start = stream.manager.dispatcher.now()
        pairs = [(b":status", b"%d" % status), *raw_pairs(headers)]
        self._answered = Message(Headers.of(pairs), complete=end_stream)
        stream.encode_headers(HeaderMap(pairs), end_stream)
        self._settle()

    def response_body(self, data: bytes | str = b"", *, end_stream: bool = False) -> None:
        """Let the upstream send a piece of its answer's body."""
        self._more(self._answered, "response")
        self._answered.body += raw(data)
        self._answered.complete = end_stream
        if self._wants_answer():
            self._stream.encode_data(raw(data), end_stream)
        self._settle()

    def response_trailers(self, trailers: HeadersInput) -> None:
        """Let the upstream end its answer with trailers."""
        self._more(self._answered, "response")
        self._answered.trailers = Headers.of(raw_pairs(trailers))
        self._answered.complete = True
        if self._wants_answer():
            self._stream.encode_trailers(HeaderMap(raw_pairs(trailers)))
        self._settle()

    def respond(self, response: Response) -> None:
        """Let the upstream answer completely. Raises OutOfOrder as `response_headers` does."""
        body, trailers = raw(response.body), raw_pairs(response.trailers)
        bare = not body and not trailers
        headers = with_length(response.headers, body)
        self.response_headers(response.status, headers, end_stream=bare)
        if body:
            self.response_body(body, end_stream=not trailers)
        if trailers:
            self.response_trailers(response.trailers)

    # -- order ---------------------------------------------------------------------------------

    def _active(self) -> list[ActiveFilter]:
        return [cast("ActiveFilter", each.callbacks) for each in self._filters]

    def _wants_answer(self) -> bool:
        """A local reply took the place of the answer, or the client is gone: it is not read."""
        return not self.ended and self.response_code_details == VIA_UPSTREAM

    def _need_upstream(self) -> None:
        if self.upstream.headers is not None and not self.ended:
            return
        if self._sent.headers is None:
            reason = "no request was sent yet"
        elif self.downstream.headers is not None:
            status, details = self.downstream.status, self.response_code_details
            reason = f"the request was answered with {status} ({details})"
        elif self.ended:
            reason = f"the stream was reset ({self.response_code_details})"
        else:
            reason = "a filter holds the request back"
        raise OutOfOrder(f"the upstream cannot answer: {reason}")

    def _more(self, message: Message, what: str) -> None:
        if message.headers is None:
            raise OutOfOrder(f"the {what}'s headers have not been sent yet")
        if message.complete:
            raise OutOfOrder(f"the {what} is complete already")
