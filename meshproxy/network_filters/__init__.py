"""THE LIST of network filters: a filter is there if it is imported here, and only then."""

from meshproxy.network_filters import http_connection_manager, tcp_proxy, wasm
from meshproxy.network_filters.registry import NETWORK_FILTERS, NetworkFactoryContext

__all__ = [
    "NETWORK_FILTERS",
    "NetworkFactoryContext",
    "http_connection_manager",
    "tcp_proxy",
    "wasm",
]
