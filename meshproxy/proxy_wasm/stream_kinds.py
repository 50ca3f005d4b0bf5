"""Which phases a stream of a plugin takes part in: those that its module has callbacks for.

Owns the classes, one per set of callbacks. A stream looks at its filters' classes once and does not
ask a filter in a phase that its class leaves alone.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.filter import StreamFilter
from meshproxy.proxy_wasm.stream_context import StreamContext

PHASES: Final = {
    "decode_data": "proxy_on_request_body",
    "decode_trailers": "proxy_on_request_trailers",
    "encode_headers": "proxy_on_response_headers",
    "encode_data": "proxy_on_response_body",
    "encode_trailers": "proxy_on_response_trailers",
}
_kinds: dict[frozenset[str], type[StreamContext]] = {}


def stream_context_class(present: frozenset[str]) -> type[StreamContext]:
    """The StreamContext for a module with these callbacks."""
    absent = frozenset(phase for phase, name in PHASES.items() if name not in present)
    found = _kinds.get(absent)
    if found is None:
        inherited = {phase: getattr(StreamFilter, phase) for phase in absent}
        found = _kinds[absent] = type("StreamContext", (StreamContext,), inherited)
    return found
