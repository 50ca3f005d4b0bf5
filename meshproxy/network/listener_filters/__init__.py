"""What looks at the first bytes of a connection before its filter chain is chosen.

`LISTENER_FILTERS` is THE LIST: the filter of each type of configuration.
"""

from typing import Final

from meshproxy.network.listener_filters.base import (
    CLOSE,
    WAIT,
    ListenerFilter,
    ListenerFilterFactory,
)
from meshproxy.network.listener_filters.proxy_protocol import (
    ProxyProtocolConfig,
    ProxyProtocolFactory,
)
from meshproxy.network.listener_filters.tls_inspector import (
    TlsInspectorConfig,
    TlsInspectorFactory,
)

LISTENER_FILTERS: Final = {
    ProxyProtocolConfig: ProxyProtocolFactory,
    TlsInspectorConfig: TlsInspectorFactory,
}

__all__ = [
    "CLOSE",
    "LISTENER_FILTERS",
    "WAIT",
    "ListenerFilter",
    "ListenerFilterFactory",
    "ProxyProtocolConfig",
    "TlsInspectorConfig",
]
