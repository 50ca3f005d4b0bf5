"""What the router needs of its stream. Only the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.local_reply import LocalReply
    from meshproxy.http.metadata import MetadataMap
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.router.route import Route


class RouterStream(Protocol):
    """Downstream's (`http/stream.py`), or a request from inside (`async_client.py`)."""

    info: StreamInfo
    deadline: float | None
    headers_sent: bool
    random: int
    cluster_entry: Any

    @property
    def buffer_limit(self) -> int:
        """How many bytes of a body may be kept."""

    @property
    def route(self) -> Route | None:
        """The route of the request."""

    @property
    def manager(self) -> Any:
        """Has the `dispatcher`."""

    @property
    def encoder(self) -> Any:
        """Has `read_disable(disable)`, which stops the request's body."""

    def send_local_reply(self, reply: LocalReply) -> None:
        """Answer from here."""

    def reset(self, details: str) -> None:
        """End the stream: what has been sent of the response will not be completed."""

    def set_max_duration(self, seconds: float | None) -> None:
        """A route has its own word on how long the stream may live."""

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's headers."""

    def encode_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""

    def encode_metadata(self, metadata: MetadataMap) -> None:
        """METADATA beside it."""
