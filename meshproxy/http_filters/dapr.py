"""The door of Dapr's HTTP API among the HTTP filters. Knows only its name.

What is behind it (`dapr_api.py`, and with it the whole API) is loaded when a sidecar needs it.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.http.filter import FilterFactory
from meshproxy.http_filters.registry import HTTP_FILTERS, FactoryContext

TYPE: Final = "meshproxy.extensions.filters.http.dapr.Dapr"
"""Not a message: the sidecar puts the filter on its own listeners (`server/dapr/`)."""


@HTTP_FILTERS.register(TYPE)
def dapr(config: Any, context: FactoryContext) -> FilterFactory:
    """The filter of one API listener; `config` is a `dapr_api.DaprFilterConfig`."""
    from meshproxy.http_filters.dapr_api import DaprFilter

    return lambda: DaprFilter(config)
