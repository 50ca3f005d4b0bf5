"""`ListenerFilter` messages to the configurations of `network/listener_filters`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.reading import wrapped
from meshproxy.errors import Code
from meshproxy.network.listener_filters import ProxyProtocolConfig, TlsInspectorConfig
from meshproxy.network.listener_filters.tls_inspector import MAX_CLIENT_HELLO

_PACKAGE: Final = "envoy.extensions.filters.listener."


def build_listener_filters(at: At, context: BuildContext) -> tuple[Any, ...]:
    """The listener filters in their order; one with an error is noted and left out."""
    built = []
    for each in at.many("listener_filters"):
        if not each.has("typed_config") and "typed_config" not in each.spot.children:
            text = "the field 'typed_config' is required"
            each.error(context.problems, Code.REQUIRED, text)
        packed = each.unpack("typed_config")
        build = _BUILDERS.get(packed.type_name) if packed is not None else None
        if packed is not None and build is not None:
            built.append(build(packed))
    return tuple(built)


def _tls_inspector(at: At) -> TlsInspectorConfig:
    return TlsInspectorConfig(
        wrapped(at, "max_client_hello_size", MAX_CLIENT_HELLO),
        at.message.close_connection_on_client_hello_parsing_errors,
    )


def _proxy_protocol(at: At) -> ProxyProtocolConfig:
    message = at.message
    return ProxyProtocolConfig(
        message.allow_requests_without_proxy_protocol,
        frozenset(number + 1 for number in message.disallowed_versions),  # V1 is 0
        message.stat_prefix,
    )


_BUILDERS: Final[dict[str, Callable[[At], Any]]] = {
    _PACKAGE + "tls_inspector.v3.TlsInspector": _tls_inspector,
    _PACKAGE + "proxy_protocol.v3.ProxyProtocol": _proxy_protocol,
}
