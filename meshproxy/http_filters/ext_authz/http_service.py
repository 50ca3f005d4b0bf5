"""Asks an authorization server by HTTP: the request without its body's end, and its status counts.

Owns what is sent, and what the answer means. Refuses to know what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http_filters.ext_authz.decision import DENIED, ERROR, OK, Decision
from meshproxy.router.header_mutation import APPEND_IF_EXISTS_OR_ADD

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.http_filters.ext_authz.messages import Attributes
    from meshproxy.http_filters.ext_authz.settings import HttpServiceConfig
    from meshproxy.router.async_client import AsyncClient, AsyncStream

MAX_BODY: Final = 1 << 20
"""Bytes of a denial's body, as of every answer that Envoy's own client collects."""
TO_REMOVE: Final = b"x-envoy-auth-headers-to-remove"
ALWAYS_TOLD: Final = frozenset((b"authorization", b":method", b":path", b":authority"))
# What goes to the client even where the configuration lists other headers.
_ALWAYS_ANSWERED: Final = frozenset((b"www-authenticate", b"location"))
# What the answer is about itself, and not about the request.
_FRAMING: Final = frozenset((b":status", b"content-length", TO_REMOVE))


class HttpAuthorization:
    """The service of one filter's configuration."""

    __slots__ = ("_client", "_config")

    def __init__(self, config: HttpServiceConfig, client: AsyncClient) -> None:
        self._config = config
        self._client = client

    def check(
        self, attributes: Attributes, info: StreamInfo, done: Callable[[Decision], None]
    ) -> Callable[[], None] | None:
        """Ask; returns what gives the question up, None where there is no such cluster."""
        config = self._config
        answer = _Answer(config, done)
        stream = self._client.start(config.cluster, answer, config.timeout)
        if stream is None:
            return None
        answer.stream = stream
        body = attributes.body or b""
        headers = self._headers(attributes, len(body))
        if config.headers_to_add is not None:
            config.headers_to_add.apply(headers, info)
        stream.send_headers(headers, not body)
        if body:
            stream.send_data(body, True)
        return stream.cancel

    def _headers(self, attributes: Attributes, size: int) -> HeaderMap:
        prefix = self._config.path_prefix
        headers = HeaderMap([(b":scheme", b"http")])
        told: dict[bytes, bytes] = {}
        for name, value in attributes.headers:
            told[name] = told[name] + b"," + value if name in told else value
        told[b":path"] = prefix + told[b":path"]
        headers.pairs += [(name, told.pop(name)) for name in (b":method", b":path", b":authority")]
        told.pop(b":scheme", None)
        told[b"content-length"] = b"%d" % size
        headers.pairs += told.items()
        return headers


class _Answer:
    """Collects one answer. Implements `async_client.AsyncReceiver`."""

    __slots__ = ("_body", "_config", "_done", "_headers", "_size", "stream")

    stream: AsyncStream

    def __init__(self, config: HttpServiceConfig, done: Callable[[Decision], None]) -> None:
        self._config = config
        self._done = done
        self._headers = HeaderMap()
        self._body: list[bytes] = []
        self._size = 0

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The answer begins."""
        self._headers = headers
        if end_stream:
            self._finish()

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""
        self._size += len(data)
        if self._size > MAX_BODY:
            self.stream.cancel()
            self._done(Decision(ERROR))
            return
        self._body.append(data)
        if end_stream:
            self._finish()

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Its end."""
        self._finish()

    def on_reset(self, details: str) -> None:
        """It will not be completed."""
        self._done(Decision(ERROR))

    def _finish(self) -> None:
        status = int(self._headers.pairs[0][1])
        if status >= 500:
            self._done(Decision(ERROR))
        elif status == 200:
            self._done(self._ok())
        else:
            self._done(self._denied(status))

    def _ok(self) -> Decision:
        config, decision = self._config, Decision(OK)
        for value in self._headers.get_all(TO_REMOVE):
            names = [name.strip(b" \t").lower() for name in value.split(b",")]
            decision.headers_to_remove += [name for name in names if name]
        for pair in self._headers.pairs:
            name = pair[0]
            if name == TO_REMOVE:
                continue
            if config.to_upstream is not None and config.to_upstream(name):
                decision.headers_to_set.append(pair)
            if config.to_upstream_append is not None and config.to_upstream_append(name):
                decision.headers_to_add.append(pair)
            if config.to_client_on_success is not None and config.to_client_on_success(name):
                decision.response_headers.append((APPEND_IF_EXISTS_OR_ADD, pair))
            self._note(decision, pair)
        return decision

    def _denied(self, status: int) -> Decision:
        decision = Decision(DENIED, status_code=status, body=b"".join(self._body))
        listed = self._config.to_client
        for pair in self._headers.pairs:
            name = pair[0]
            if name in _FRAMING:
                continue
            if listed is None or name in _ALWAYS_ANSWERED or listed(name):
                decision.reply_headers.append(pair)
            self._note(decision, pair)
        return decision

    def _note(self, decision: Decision, pair: tuple[bytes, bytes]) -> None:
        if self._config.to_metadata is not None and self._config.to_metadata(pair[0]):
            name, value = (each.decode("utf-8", "replace") for each in pair)
            decision.dynamic_metadata[name] = value
