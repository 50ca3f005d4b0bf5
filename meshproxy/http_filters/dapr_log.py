"""A line in the log for every call of Dapr's APIs, when it is over. Knows no call.

Source: daprd v1.18: `--enable-api-logging`, and `logging.apiLogging` of a Configuration.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meshproxy.http.filter import CONTINUE, FilterFactory, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.status import is_grpc
from meshproxy.http_filters.dapr_metrics import grpc_number_of

_HTTP: Final = logging.getLogger("meshproxy.dapr.runtime.http-info")
_GRPC: Final = logging.getLogger("meshproxy.dapr.runtime.grpc.api-info")


@dataclass(frozen=True, slots=True)
class ApiLogging:
    """Whether calls are logged, and those for health with them.

    `obfuscate_urls`: over HTTP by the name of the call, not by its path, which has keys in it.
    """

    enabled: bool = False
    omit_health_checks: bool = False
    obfuscate_urls: bool = False


def api_log(settings: ApiLogging, now: Callable[[], float] = time.monotonic) -> FilterFactory:
    """The filter; `now` is the clock of `StreamInfo.start`."""
    return lambda: ApiLogFilter(settings, now)


class ApiLogFilter(StreamFilter):
    """One call."""

    __slots__ = ("_agent", "_grpc", "_method", "_now", "_settings")

    def __init__(self, settings: ApiLogging, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._method = self._agent = ""
        self._grpc = False

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Remember what was asked: on its way it may become something else."""
        path = (headers.get(b":path") or b"").decode("latin-1").partition("?")[0]
        if self._settings.omit_health_checks and "/healthz" in path:
            return CONTINUE
        self._grpc = is_grpc(headers.get(b"content-type") or b"")
        verb = (headers.get(b":method") or b"").decode("latin-1")
        self._method = path if self._grpc else f"{verb} {path}"
        self._agent = (headers.get(b"user-agent") or b"").decode("latin-1")
        return CONTINUE

    def on_stream_complete(self) -> None:
        """Log it."""
        if not self._method:
            return
        info = self.callbacks.info
        elapsed = int((self._now() - info.start) * 1000)
        named = self._settings.obfuscate_urls and not self._grpc
        method = info.operation if named else self._method
        fields: dict[str, str | int] = {"method": method, "duration": elapsed}
        if self._agent:
            fields["useragent"] = self._agent
        if self._grpc:
            _GRPC.info(
                "gRPC API Called", extra={"dapr": {**fields, "code": int(grpc_number_of(info))}}
            )
            return
        fields |= {"code": info.response_code or 0, "size": info.bytes_sent}
        _HTTP.info("HTTP API Called", extra={"dapr": fields})
