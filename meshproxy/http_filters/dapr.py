"""The doors of Dapr's listeners among the HTTP filters. Knows only their names.

What is behind them, and with it the whole API, is loaded when a sidecar needs it.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.http.filter import FilterFactory
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext

TYPE: Final = "meshproxy.extensions.filters.http.dapr.Dapr"
GRPC_TYPE: Final = "meshproxy.extensions.filters.http.dapr.Grpc"
INTERNAL_TYPE: Final = "meshproxy.extensions.filters.http.dapr.Internal"
MADE_TYPE: Final = "meshproxy.extensions.filters.http.dapr.Made"
# None is a message: the sidecar puts them on its own listeners (`server/dapr/`).


@HTTP_FILTERS.register(TYPE)
def dapr(config: Any, context: FactoryContext) -> FilterFactory:
    """The filter of an API listener; `config` is a `dapr_api.DaprFilterConfig`."""
    from meshproxy.http_filters.dapr_api import DaprFilter

    return lambda: DaprFilter(config)


@HTTP_FILTERS.register(MADE_TYPE)
def made(config: Any, context: FactoryContext) -> FilterFactory:
    """What stands around an API: `config` is the factory itself."""
    factory: FilterFactory = config
    return factory


@HTTP_FILTERS.register(GRPC_TYPE)
def grpc(config: Any, context: FactoryContext) -> FilterFactory:
    """The filter of a gRPC API listener; `config` is a `dapr_grpc.DaprGrpcConfig`."""
    from meshproxy.http_filters.dapr_grpc import DaprGrpcFilter

    return lambda: DaprGrpcFilter(config)


@HTTP_FILTERS.register(INTERNAL_TYPE)
def internal(config: Any, context: FactoryContext) -> FilterFactory:
    """The filter of the listener for other sidecars; `config` is an `InternalFilterConfig`."""
    from meshproxy.http_filters.dapr_invoke import InternalFilter

    return lambda: InternalFilter(config)
