"""`FilterChain` messages to `FilterChainConfig`.

Owns the order of the filters of a chain: exactly one is terminal, and it is the last. Refuses to
know what a filter's configuration says; `builders` do, by type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.config.reading import cidr_ranges, seconds_or_never, wrapped
from meshproxy.config.tls import build_downstream_tls
from meshproxy.errors import Code
from meshproxy.network.filter_chain import FilterChainConfig, NetworkFilterConfig
from meshproxy.network.filter_chain_match import EVERYTHING, FilterChainMatch

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
    if not chains and not at.has("default_filter_chain"):
        text = "the listener has no filter chain"
        at.error(context.problems, Code.REQUIRED, text, "filter_chains")
    built: list[FilterChainConfig] = []
    lines: dict[FilterChainMatch, int] = {}
    for each in chains:
        chain = build_filter_chain(each, builders, context)
        if chain is None:
            continue
        line = lines.setdefault(chain.match, each.mark().line)
        if line != each.mark().line:
            text = f"the chain fits what the one in line {line} fits already"
            each.error(context.problems, Code.INVALID, text, "filter_chain_match")
        built.append(chain)
    return tuple(built)


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
    found = len(problems.found)
    tls = build_downstream_tls(at, context)
    match = _match(at, problems)
    if len(built) < len(filters) or not built or len(problems.found) > found:
        return None
    return FilterChainConfig(
        name=at.message.name,
        filters=tuple(built),
        match=match,
        tls=tls,
        transport_socket_connect_timeout=seconds_or_never(
            at, "transport_socket_connect_timeout", None
        ),
    )


def _match(at: At, problems: Problems) -> FilterChainMatch:
    match = at.one("filter_chain_match")
    if match is None:
        return EVERYTHING
    message = match.message
    names = [_server_name(match, index, problems) for index in range(len(message.server_names))]
    return FilterChainMatch(
        destination_port=wrapped(match, "destination_port", 0),
        prefix_ranges=cidr_ranges(match.many("prefix_ranges"), problems),
        server_names=tuple(name for name in names if name),
        transport_protocol=message.transport_protocol,
        application_protocols=tuple(message.application_protocols),
        direct_source_prefix_ranges=cidr_ranges(
            match.many("direct_source_prefix_ranges"), problems
        ),
        source_type=message.source_type,
        source_prefix_ranges=cidr_ranges(match.many("source_prefix_ranges"), problems),
        source_ports=tuple(message.source_ports),
    )


def _server_name(at: At, index: int, problems: Problems) -> str:
    """A name in lower case, `*.x` as `.x`, `*` as nothing: every name fits it."""
    name: str = at.message.server_names[index].lower()
    if name == "*":
        return ""
    if "*" in name.removeprefix("*."):
        text = f"'{name}': a wildcard stands for whole labels at the beginning"
        at.error(problems, Code.INVALID, text, "server_names", index, expected="such as *.example")
    return name.removeprefix("*")


def _short(type_name: str) -> str:
    return type_name.rpartition(".")[2]
