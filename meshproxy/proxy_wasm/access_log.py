"""`envoy.access_loggers.wasm`: a plugin that is told of finished streams.

Owns the way from an access log's filter to `proxy_on_log` of a root. There is no context per
stream: the guest is given its root's id, and the stream's maps and properties for that one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshproxy.http.access_log import AccessLogFilter
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.proxy_wasm.plugin import Plugin


class WasmAccessLog:
    """One entry of `access_log`. Without a VM, and none to be had, nothing is logged."""

    __slots__ = ("_passes", "_plugin")

    def __init__(self, plugin: Plugin, passes: AccessLogFilter | None) -> None:
        self._plugin = plugin
        self._passes = passes

    def log(self, info: StreamInfo) -> None:
        """Log a stream whose facts are final."""
        if self._passes is None or self._passes(info):
            root = self._plugin.serving_root()
            if root is not None:
                root.on_log(info)
