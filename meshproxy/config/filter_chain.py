"""`FilterChain` messages to `FilterChainConfig`.

Owns the order of the filters of a chain: exactly one is terminal, and it is the last. Refuses to
know what a filter's configuration says; `builders` do, by type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.errors import Code
from meshproxy.network.filter_chain import FilterChainConfig, NetworkFilterConfig

Builders = Mapping[str, Callable[[At, BuildContext], Any]]
"""What makes the configuration of a network filter, by the full name of its message."""

TERMINAL: Final = frozenset(
    {
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    }
)


def build_filter_chains(
    at: At, builders: Builders, context: BuildContext
) -> tuple[FilterChainConfig, ...]:
    """The chains of a `Listener`; one with an error is noted and left out."""
    chains = at.many("filter_chains")
    if not chains:
        text = "the listener has no filter chain"
        at.error(context.problems, Code.REQUIRED, text, "filter_chains")
    for chain in chains[1:]:
        text = "a second filter chain is not supported"
        chain.error(context.problems, Code.UNSUPPORTED_VALUE, text)
    built = [build_filter_chain(chain, builders, context) for chain in chains]
    return tuple(chain for chain in built if chain is not None)


def build_filter_chain(
    at: At, builders: Builders, context: BuildContext
) -> FilterChainConfig | None:
    """One chain, or None with what is wrong noted."""
    problems = context.problems
    filters = at.many("filters")
    built: list[NetworkFilterConfig] = []
    known = True  # whose type is not known may well be terminal; its error is noted already
    for index, each in enumerate(filters):
        if not each.has("typed_config") and "typed_config" not in each.spot.children:
            each.error(problems, Code.REQUIRED, "the field 'typed_config' is required")
        packed = each.unpack("typed_config")
        type_name = packed.type_name if packed is not None else ""
        known = known and type_name in builders
        if type_name in TERMINAL and index < len(filters) - 1:
            text = f"'{_short(type_name)}' is a terminal filter and must be the last of its chain"
            each.error(problems, Code.INVALID, text)
        build = builders.get(type_name)
        config = build(packed, context) if build is not None and packed is not None else None
        if config is not None:
            built.append(NetworkFilterConfig(each.message.name, type_name, config))
    if not filters:
        text = "the filter chain has no filter"
        at.error(problems, Code.REQUIRED, text, "filters")
    elif known and built and built[-1].type_name not in TERMINAL:
        names = " or ".join(sorted(map(_short, TERMINAL)))
        filters[-1].error(problems, Code.INVALID, f"the last filter of a chain must be {names}")
    if len(built) < len(filters) or not built:
        return None
    return FilterChainConfig(name=at.message.name, filters=tuple(built))


def _short(type_name: str) -> str:
    return type_name.rpartition(".")[2]
