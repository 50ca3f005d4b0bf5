"""Which phases a stream of a plugin takes part in: those that its module has callbacks for.

Owns the sets of the other phases, one object each. A chain looks at a filter's set to know whom it
need not ask.
"""

from __future__ import annotations

from typing import Final

PHASES: Final = {
    "decode_data": "proxy_on_request_body",
    "decode_trailers": "proxy_on_request_trailers",
    "decode_metadata": "proxy_on_request_metadata",
    "encode_headers": "proxy_on_response_headers",
    "encode_data": "proxy_on_response_body",
    "encode_trailers": "proxy_on_response_trailers",
    "encode_metadata": "proxy_on_response_metadata",
}
_known: dict[frozenset[str], frozenset[str]] = {}


def silent_phases(present: frozenset[str]) -> frozenset[str]:
    """The phases in which a module with these callbacks has nothing to say."""
    found = frozenset(phase for phase, name in PHASES.items() if name not in present)
    return _known.setdefault(found, found)
