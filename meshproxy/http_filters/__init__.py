"""THE LIST of built-in HTTP filters: a filter is there if it is imported here, and only then.

The router is not in it: it is the terminal filter of every chain (`router/router.py`).
"""

from meshproxy.http_filters import (
    dapr,
    ext_authz,
    grpc_http1_bridge,
    grpc_stats,
    grpc_web,
    health_check,
    wasm,
)
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext

__all__ = [
    "HTTP_FILTERS",
    "FactoryContext",
    "dapr",
    "ext_authz",
    "grpc_http1_bridge",
    "grpc_stats",
    "grpc_web",
    "health_check",
    "wasm",
]
