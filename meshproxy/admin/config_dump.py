"""`/config_dump`: the running configuration, without its secrets.

Owns the dumps (`envoy.admin.v3.*ConfigDump` as proto JSON), masks and redaction. Refuses to know
where the configuration came from; it reads the bootstrap as a tree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from meshproxy.admin.clusters import address_json
from meshproxy.admin.endpoint import JSON, Answer, BadRequest, Query
from meshproxy.router.regex import Regex, RegexError

if TYPE_CHECKING:
    from meshproxy.admin.view import ServerView
    from meshproxy.upstream.cluster import Cluster
    from meshproxy.upstream.host import Host

Tree = dict[str, Any]

_TYPE: Final = "type.googleapis.com/envoy.admin.v3."
_CONFIG_TYPE: Final = "type.googleapis.com/envoy.config."
_HTTP_CONNECTION_MANAGER: Final = (
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)

# The repeated fields of each dump, with the message of an element and the element's part that has
# the name. Dynamic resources do not exist here, so asking for them finds nothing.
_RESOURCES: Final[dict[str, tuple[str, str]]] = {
    "static_clusters": ("ClustersConfigDump.StaticCluster", "cluster"),
    "dynamic_active_clusters": ("ClustersConfigDump.DynamicCluster", "cluster"),
    "dynamic_warming_clusters": ("ClustersConfigDump.DynamicCluster", "cluster"),
    "static_endpoint_configs": ("EndpointsConfigDump.StaticEndpointConfig", "endpoint_config"),
    "dynamic_endpoint_configs": ("EndpointsConfigDump.DynamicEndpointConfig", "endpoint_config"),
    "static_listeners": ("ListenersConfigDump.StaticListener", "listener"),
    "dynamic_listeners": ("ListenersConfigDump.DynamicListener", "listener"),
    "static_route_configs": ("RoutesConfigDump.StaticRouteConfig", "route_config"),
    "dynamic_route_configs": ("RoutesConfigDump.DynamicRouteConfig", "route_config"),
    "inline_scoped_route_configs": ("ScopedRoutesConfigDump.InlineScopedRouteConfigs", ""),
    "dynamic_scoped_route_configs": ("ScopedRoutesConfigDump.DynamicScopedRouteConfigs", ""),
    "static_secrets": ("SecretsConfigDump.StaticSecret", "secret"),
    "dynamic_active_secrets": ("SecretsConfigDump.DynamicSecret", "secret"),
    "dynamic_warming_secrets": ("SecretsConfigDump.DynamicSecret", "secret"),
}
_SINGULAR: Final = ("bootstrap", "version_info", "last_updated")

# Fields that Envoy's protos mark as sensitive. Where a name means something else elsewhere, more is
# hidden than Envoy hides.
_SENSITIVE: Final = frozenset(
    {
        "auth_password",
        "auth_username",
        "backend_token",
        "context_extensions",
        "credentials",
        "credentials_data_source",
        "downstream_auth_password",
        "downstream_auth_passwords",
        "downstream_auth_username",
        "keys",
        "password",
        "pkcs12",
        "private_key",
        "private_key_provider",
        "secret",
        "secret_access_key",
        "secret_data",
        "session_token",
        "users",
        "web_identity_token_data_source",
    }
)
_REDACTED: Final = "[redacted]"
_REDACTED_BYTES: Final = "W3JlZGFjdGVkXQ=="  # base64 of the same


def config_dump(view: ServerView, query: Query) -> Answer:
    """Everything configured; `resource`, `mask`, `name_regex` and `include_eds` narrow it."""
    named = _name_filter(query.get("name_regex"))
    mask = [path.split(".") for path in query.get("mask").split(",") if path]
    resource = query.get("resource")
    if resource:
        found = _resource(view, resource, "include_eds" in query, named)
        if found is None:
            return Answer(f"{resource} not found in config dump", 404)
        elements = [_masked(element, mask) if mask else element for element in found]
        if any(element is None for element in elements):
            raise BadRequest(f"FieldMask {query.get('mask')} could not be successfully used.")
        return _answer({"configs": elements} if elements else {})
    dumps = [_named(dump, named) for dump in _dumps(view, include_eds="include_eds" in query)]
    if mask:
        dumps = [kept for dump in dumps if (kept := _masked(dump, mask)) is not None]
        if not dumps:
            raise BadRequest(
                f"FieldMask {query.get('mask')} could not be successfully applied to any configs."
            )
    return _answer({"configs": dumps})


def redacted(tree: Any) -> Any:
    """A copy of a configuration in which every secret reads `[redacted]`."""
    if isinstance(tree, Mapping):
        return {
            key: _hidden(value) if _is_sensitive(key, value) else redacted(value)
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [redacted(element) for element in tree]
    return tree


def _is_sensitive(key: str, value: object) -> bool:
    # GenericSecret.secrets is a map; static_resources.secrets is a list of named resources.
    return key in _SENSITIVE or (key == "secrets" and isinstance(value, Mapping))


def _hidden(tree: Any, key: str = "") -> Any:
    if isinstance(tree, Mapping):
        return {name: _hidden(value, name) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_hidden(element, key) for element in tree]
    if isinstance(tree, str) and key != "@type":
        return _REDACTED_BYTES if key == "inline_bytes" else _REDACTED
    return tree


def _answer(tree: Tree) -> Answer:
    def body() -> Iterator[str]:
        yield from json.JSONEncoder(indent=1, ensure_ascii=False).iterencode(tree)
        yield "\n"

    return Answer(body(), content_type=JSON)


def _dumps(view: ServerView, *, include_eds: bool) -> Iterator[Tree]:
    bootstrap = redacted(view.bootstrap)
    static = bootstrap.get("static_resources", {})
    stamp = {"last_updated": timestamp(view.loaded_at)}

    def dump(kind: str, field: str, elements: list[Tree]) -> Tree:
        return {"@type": f"{_TYPE}{kind}", **({field: elements} if elements else {})}

    def each(part: str, message: str, resources: list[Tree]) -> list[Tree]:
        type_url = {"@type": _CONFIG_TYPE + message}
        return [{part: {**type_url, **resource}, **stamp} for resource in resources]

    yield {"@type": f"{_TYPE}BootstrapConfigDump", "bootstrap": bootstrap, **stamp}
    clusters = each("cluster", "cluster.v3.Cluster", static.get("clusters", []))
    yield dump("ClustersConfigDump", "static_clusters", clusters)
    if include_eds:
        assigned = [_assignment(cluster) for cluster in view.clusters.values()]
        yield dump("EndpointsConfigDump", "static_endpoint_configs", assigned)
    listeners = each("listener", "listener.v3.Listener", static.get("listeners", []))
    yield dump("ListenersConfigDump", "static_listeners", listeners)
    yield dump("ScopedRoutesConfigDump", "", [])
    routes = each("route_config", "route.v3.RouteConfiguration", list(_route_configs(static)))
    yield dump("RoutesConfigDump", "static_route_configs", routes)
    secrets = [
        {"name": secret.get("name", ""), **stamp, "secret": secret}
        for secret in static.get("secrets", [])
    ]
    yield dump("SecretsConfigDump", "static_secrets", secrets)


def _route_configs(static: Tree) -> Iterator[Tree]:
    for listener in static.get("listeners", []):
        chains = [*listener.get("filter_chains", []), listener.get("default_filter_chain", {})]
        for network_filter in (one for chain in chains for one in chain.get("filters", [])):
            config = network_filter.get("typed_config", {})
            manages_http = config.get("@type", "").endswith(_HTTP_CONNECTION_MANAGER)
            if manages_http and "route_config" in config:
                yield config["route_config"]


def _assignment(cluster: Cluster) -> Tree:
    """The hosts of a cluster as they are now: `ClusterLoadAssignment`."""
    groups: dict[tuple[int, Any], list[Host]] = {}
    for host in cluster.hosts:
        groups.setdefault((host.priority, host.locality), []).append(host)
    endpoints = []
    for (priority, locality), hosts in groups.items():
        parts = {part: getattr(locality, part) for part in ("region", "zone", "sub_zone")}
        entry: Tree = {
            "locality": {part: text for part, text in parts.items() if text},
            "lb_endpoints": [_lb_endpoint(host) for host in hosts],
        }
        endpoints.append({**entry, "priority": priority} if priority else entry)
    assignment: Tree = {
        "@type": f"{_CONFIG_TYPE}endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster.name,
        "endpoints": endpoints,
        "policy": {"overprovisioning_factor": cluster.config.overprovisioning_factor},
    }
    return {"endpoint_config": assignment}


def _lb_endpoint(host: Host) -> Tree:
    check: Tree = {}
    where = host.health_check_address
    if where.text != host.address.text:
        check["port_value"] = where.port
    if host.health_check_hostname:
        check["hostname"] = host.health_check_hostname
    endpoint: Tree = {"address": address_json(host.address), "health_check_config": check}
    if host.hostname:
        endpoint["hostname"] = host.hostname
    health = "DEGRADED" if host.degraded else "HEALTHY" if host.healthy else "UNHEALTHY"
    weight = {"load_balancing_weight": host.weight}
    return {"endpoint": endpoint, "health_status": health, **weight}


def _resource(
    view: ServerView, resource: str, include_eds: bool, named: Callable[[Tree, str], bool]
) -> list[Tree] | None:
    """The elements of a repeated field of any dump; None where there is no such field."""
    if resource in _SINGULAR:
        raise BadRequest(
            f"{resource} is not a repeated field. Use ?mask={resource} to get only this field"
        )
    if resource not in _RESOURCES:
        return None
    message, part = _RESOURCES[resource]
    type_url = {"@type": f"{_TYPE}{message}"}
    for dump in _dumps(view, include_eds=include_eds):
        if resource in dump:
            return [{**type_url, **one} for one in dump[resource] if named(one, part)]
    return []


def _named(dump: Tree, named: Callable[[Tree, str], bool]) -> Tree:
    """The dump with the resources whose names match."""
    kept: Tree = {}
    for field, value in dump.items():
        if field in _RESOURCES:
            value = [element for element in value if named(element, _RESOURCES[field][1])]
            if not value:
                continue
        kept[field] = value
    return kept


def _name_filter(pattern: str) -> Callable[[Tree, str], bool]:
    if not pattern:
        return lambda element, part: True
    try:
        regex = Regex(pattern)
    except RegexError as error:
        raise BadRequest(
            f"INVALID_ARGUMENT: Error while parsing name_regex from {pattern}: {error}"
        ) from error

    def matches(element: Tree, part: str) -> bool:
        inner = element.get(part, element)
        name = inner.get("name") or inner.get("cluster_name") or ""
        return regex.fullmatch(name.encode())

    return matches


def _masked(tree: Tree, mask: list[list[str]]) -> Tree | None:
    """What the paths of a `FieldMask` leave of a message; None where none of them can be taken."""
    kept: Tree = {"@type": tree["@type"]}
    taken = [_take(tree, path, kept) for path in mask]
    return kept if all(taken) else None


def _take(tree: Tree, path: list[str], kept: Tree) -> bool:
    """Copy the value at `path`. A path may end at a list and not lead through one."""
    for name in path[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            return False
        into = kept.setdefault(name, {"@type": inner["@type"]} if "@type" in inner else {})
        tree, kept = inner, into
    if path[-1] not in tree:
        return False
    kept[path[-1]] = tree[path[-1]]
    return True


def timestamp(seconds: float) -> str:
    """A moment as proto JSON writes it: UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
