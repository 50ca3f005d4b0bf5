"""`Http2ProtocolOptions` to `Http2Settings`, for listeners and clusters.

Owns the reading of those options and what Envoy checks of them beyond the rules of the proto.
Refuses to know what the codec does with them.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.config.reading import seconds, wrapped
from meshproxy.errors import Code
from meshproxy.http.http2.settings import Http2Settings, Keepalive

_COUNTS: Final = (
    "hpack_table_size",
    "max_metadata_size",
    "max_concurrent_streams",
    "initial_stream_window_size",
    "initial_connection_window_size",
    "max_outbound_frames",
    "max_outbound_control_frames",
    "max_consecutive_inbound_frames_with_empty_payload",
    "max_inbound_priority_frames_per_stream",
    "max_inbound_window_update_frames_per_data_frame_sent",
)
_DEFAULTS: Final = Http2Settings()


def build_http2(
    at: At | None, problems: Problems, *, max_headers_kb: int, max_headers_count: int
) -> Http2Settings:
    """The settings; `at` is None where the configuration says nothing."""
    limits: dict[str, Any] = {
        "max_headers_bytes": max_headers_kb * 1024,
        "max_headers_count": max_headers_count,
    }
    if at is None:
        return Http2Settings(**limits)
    for name in _COUNTS:
        limits[name] = wrapped(at, name, getattr(_DEFAULTS, name))
    # The deprecated field counts where the new one is not set.
    lenient = at.message.stream_error_on_invalid_http_messaging
    return Http2Settings(
        **limits,
        stream_error_on_invalid_http_messaging=wrapped(
            at, "override_stream_error_on_invalid_http_message", lenient
        ),
        keepalive=_keepalive(at, problems),
        allow_connect=at.message.allow_connect,
        allow_metadata=at.message.allow_metadata,
    )


def _keepalive(at: At, problems: Problems) -> Keepalive | None:
    options = at.one("connection_keepalive")
    if options is None:
        return None
    if not options.has("interval") and not options.has("connection_idle_interval"):
        text = "one of 'interval' and 'connection_idle_interval' must be set"
        options.error(problems, Code.REQUIRED, text, "interval")
    jitter = options.message.interval_jitter.value if options.has("interval_jitter") else 15.0
    return Keepalive(
        timeout=seconds(options, "timeout", 0.0),
        interval=seconds(options, "interval", 0.0),
        jitter=jitter / 100,
        connection_idle_interval=seconds(options, "connection_idle_interval", 0.0),
    )
