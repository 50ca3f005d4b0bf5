"""What formatters, matchers and properties may know of a downstream connection.

Owns the copy of those facts, which outlives the connection. Refuses to know bytes.
"""

from __future__ import annotations

from typing import Any


class PeerInfo:
    """The facts of one downstream connection, taken when its filters begin."""

    __slots__ = ("direct_remote_address", "filter_chain_name", "filter_state", "id",
                 "local_address", "remote_address", "requested_server_name", "tls")  # fmt: skip

    def __init__(self, connection: Any) -> None:
        self.id: int = connection.connection_id
        self.local_address = connection.local_address
        self.remote_address = connection.remote_address
        self.direct_remote_address = connection.direct_remote_address
        self.requested_server_name: str | None = connection.requested_server_name
        self.filter_chain_name: str = connection.filter_chain_name
        self.tls: Any = connection.tls  # network.tls.info.TlsInfo
        # What filters keep for all streams of the connection; made on first write.
        self.filter_state: dict[str, bytes] | None = None
