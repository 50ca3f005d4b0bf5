"""What a configuration may choose about HTTP/2. Frozen, made once per listener or cluster."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

DEFAULT_WINDOW: Final = 65535  # RFC 9113, 6.9.2
DEFAULT_TABLE_SIZE: Final = 4096
MAX_FRAME_SIZE: Final = 16384
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """`KeepaliveSettings`: PINGs that tell a dead peer from a silent one. Times are seconds.

    `interval` 0.0: none on a schedule. `jitter` is a fraction of the interval.
    `connection_idle_interval`: a connection that was silent for so long is asked before it is used.
    """

    timeout: float
    interval: float = 0.0
    jitter: float = 0.15
    connection_idle_interval: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Settings:
    """`Http2ProtocolOptions` with Envoy's defaults, and the header limits that go with it.

    Sizes are bytes. The `max_*_frames*` are the limits of `limits.py`. `buffer_limit` is how much
    of a body a stream keeps while its peer's window is closed before it asks its sender to wait.
    `max_metadata_size` is the size of all METADATA that a stream may receive, before it is decoded.
    """

    max_headers_bytes: int = 60 * 1024
    max_headers_count: int = 100
    hpack_table_size: int = DEFAULT_TABLE_SIZE
    max_concurrent_streams: int = 1024
    initial_stream_window_size: int = 16 * _MIB
    initial_connection_window_size: int = 24 * _MIB
    allow_connect: bool = False
    allow_metadata: bool = False
    max_metadata_size: int = _MIB
    max_outbound_frames: int = 10_000
    max_outbound_control_frames: int = 1000
    max_consecutive_inbound_frames_with_empty_payload: int = 1
    max_inbound_priority_frames_per_stream: int = 100
    max_inbound_window_update_frames_per_data_frame_sent: int = 10
    stream_error_on_invalid_http_messaging: bool = False
    keepalive: Keepalive | None = None
    buffer_limit: int = _MIB


def decode_upgrade_settings(value: bytes) -> bytes | None:
    """The payload of an `HTTP2-Settings` field (RFC 7540, 3.2.1), None if it is not one."""
    try:
        payload = base64.b64decode(value + b"=" * (-len(value) % 4), b"-_", validate=True)
    except binascii.Error:
        return None
    return payload if len(payload) % 6 == 0 else None
