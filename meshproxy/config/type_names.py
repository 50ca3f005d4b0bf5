"""Names of messages that Envoy knows, or knew once.

Owns the import of generated message classes, by name and only when one is named, and the advice
for what was removed with Envoy's v2 API. Refuses to know documents.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor

from meshproxy.config.problems import nearest
from meshproxy.errors import Code

_POOL: Final = descriptor_pool.Default()
_PACKAGES: Final = frozenset({"envoy", "xds", "udpa", "google"})
_TYPE_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

_CLUSTER: Final = "envoy.config.cluster.v3.Cluster"
_ROUTE_MATCH: Final = "envoy.config.route.v3.RouteMatch"
_VIRTUAL_HOST: Final = "envoy.config.route.v3.VirtualHost"
_HTTP_MANAGER: Final = (
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_HTTP_FILTER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
_TYPED: Final = "use 'typed_config' with '@type'"

REMOVED_FIELDS: Final[dict[tuple[str, str], str]] = {
    ("envoy.config.bootstrap.v3.Bootstrap", "runtime"): "use 'layered_runtime'",
    ("envoy.config.bootstrap.v3.Bootstrap.StaticResources", "routes"): (
        "use 'route_config' of the HTTP connection manager"
    ),
    (_CLUSTER, "hosts"): "use 'load_assignment'",
    (_CLUSTER, "tls_context"): "use 'transport_socket'",
    (_CLUSTER, "extension_protocol_options"): "use 'typed_extension_protocol_options'",
    ("envoy.config.listener.v3.FilterChain", "tls_context"): "use 'transport_socket'",
    ("envoy.config.listener.v3.Listener", "use_original_dst"): (
        "use the listener filter 'envoy.filters.listener.original_dst'"
    ),
    ("envoy.config.listener.v3.Filter", "config"): _TYPED,
    ("envoy.config.listener.v3.ListenerFilter", "config"): _TYPED,
    (_HTTP_MANAGER + ".Tracing", "operation_name"): "use 'traffic_direction' of the listener",
    (_HTTP_FILTER, "config"): _TYPED,
    ("envoy.config.accesslog.v3.AccessLog", "config"): _TYPED,
    ("envoy.config.core.v3.TransportSocket", "config"): _TYPED,
    (_ROUTE_MATCH, "regex"): "use 'safe_regex'",
    (_VIRTUAL_HOST, "per_filter_config"): "use 'typed_per_filter_config'",
    ("envoy.config.route.v3.Route", "per_filter_config"): "use 'typed_per_filter_config'",
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight", "per_filter_config"): (
        "use 'typed_per_filter_config'"
    ),
    ("envoy.config.route.v3.RouteAction", "request_mirror_policy"): "use 'request_mirror_policies'",
    ("envoy.config.route.v3.HeaderMatcher", "regex_match"): (
        "use 'string_match' with 'safe_regex'"
    ),
    ("envoy.config.route.v3.QueryParameterMatcher", "value"): "use 'string_match'",
    ("envoy.config.route.v3.QueryParameterMatcher", "regex"): (
        "use 'string_match' with 'safe_regex'"
    ),
}

# The old packages are still in the wheel of protos, and no longer in Envoy.
_REMOVED: Final = re.compile(r"envoy\.(api\.v2|.*\.v[12](alpha\d*)?)(\..*)?")


def find_type(full_name: str) -> Callable[[], Any] | None:
    """The message class of a full protobuf name, importing its module if need be."""
    if not _TYPE_NAME.fullmatch(full_name) or full_name.split(".")[0] not in _PACKAGES:
        return None
    descriptor = _find_descriptor(full_name)
    if descriptor is None:
        package, _, name = full_name.rpartition(".")
        for module in _modules(package, name):
            importlib.import_module(module)
            descriptor = _find_descriptor(full_name)
            if descriptor is not None:
                break
    return message_factory.GetMessageClass(descriptor) if descriptor is not None else None


def _find_descriptor(full_name: str) -> Descriptor | None:
    try:
        descriptor: Descriptor = _POOL.FindMessageTypeByName(full_name)
    except KeyError:
        return None
    return descriptor


def _modules(package: str, name: str) -> list[str]:
    """The generated modules of a protobuf package; those named like the message come first."""
    parts = package.split(".")
    spec = importlib.util.find_spec(parts[0])
    roots = spec.submodule_search_locations if spec is not None else None
    found = {
        f"{package}.{file.stem}"
        for root in roots or ()
        for file in Path(root, *parts[1:]).glob("*_pb2.py")
    }
    likely = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return sorted(found, key=lambda module: (likely not in module, module))


def is_removed(full_name: str) -> bool:
    """Whether a type belongs to Envoy's v2 API, which Envoy refuses since 1.18."""
    return bool(_REMOVED.fullmatch(full_name)) and ".v3" not in full_name


def explain(full_name: str) -> tuple[Code, str, str]:
    """What to say of a type that cannot be found: the code, the message, the nearest type URL."""
    known = all_types()
    if is_removed(full_name):
        successor = _successors().get(full_name, "")
        message = f"'{full_name}' belongs to the v2 API, which was removed from Envoy"
        return Code.REMOVED, message, _url(successor)
    return Code.TYPE_UNKNOWN, f"unknown type '{full_name}'", _url(_nearest_type(full_name, known))


def _url(full_name: str) -> str:
    return f"type.googleapis.com/{full_name}" if full_name else ""


def _nearest_type(full_name: str, known: frozenset[str]) -> str:
    """The same last name in another package is nearer than a like package with another name."""
    last = full_name.rpartition(".")[2]
    namesakes = [name for name in known if name.rpartition(".")[2] == last]
    return nearest(full_name, namesakes) or nearest(full_name, known)


@cache
def all_types() -> frozenset[str]:
    """Every message type of Envoy's v3 API. Imports all of it (half a second): for errors only."""
    names: set[str] = set()
    for root_name in ("envoy", "xds", "udpa"):
        spec = importlib.util.find_spec(root_name)
        for root in (spec.submodule_search_locations if spec is not None else None) or ():
            for file in Path(root).rglob("*_pb2.py"):
                parts = (root_name, *file.relative_to(root).with_suffix("").parts)
                module = importlib.import_module(".".join(parts))
                descriptor = module.DESCRIPTOR
                names |= {
                    message.full_name for message in descriptor.message_types_by_name.values()
                }
    return frozenset(name for name in names if not is_removed(name))


@cache
def _successors() -> dict[str, str]:
    """v2 names to the v3 names that took their place, as the protos themselves record it."""
    versioning = importlib.import_module("udpa.annotations.versioning_pb2").versioning
    found: dict[str, str] = {}
    for name in all_types():
        options = _POOL.FindMessageTypeByName(name).GetOptions()
        previous = options.Extensions[versioning].previous_message_type
        if previous:
            found[previous] = name
    return found
