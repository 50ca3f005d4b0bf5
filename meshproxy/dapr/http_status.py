"""What a status of gRPC is in HTTP and the other way round, as daprd maps them. Imports nothing.

Between a caller and an app that do not speak the same protocol; not gRPC's own map of HTTP failures
(`http/status.py`). Source: daprd v1.18, `pkg/messaging/v1/util.go`.
"""

from __future__ import annotations

from typing import Final

_UNKNOWN: Final = 2
# By the number of the code of gRPC, from OK to UNAUTHENTICATED.
_HTTP: Final = (200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)
_GRPC: Final = {
    400: 13,  # INTERNAL
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    404: 5,  # NOT_FOUND
    408: 1,  # CANCELLED
    409: 6,  # ALREADY_EXISTS
    429: 8,  # RESOURCE_EXHAUSTED
    500: _UNKNOWN,
    501: 12,  # UNIMPLEMENTED
    503: 14,  # UNAVAILABLE
    504: 4,  # DEADLINE_EXCEEDED
}


def http_status(code: int) -> int:
    """The status of HTTP for a code of gRPC."""
    return _HTTP[code] if 0 <= code < len(_HTTP) else 500


def grpc_status(status: int) -> int:
    """The code of gRPC for a status of HTTP."""
    return 0 if 200 <= status < 300 else _GRPC.get(status, _UNKNOWN)
