"""A `Bootstrap` message to `ServerConfig`, the only thing that the server consumes.

Owns the order in which the parts are built and what they may refer to. Refuses to know documents
and the rules of protos; what it gets has been walked and checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import json_format

from meshproxy.config.cluster import build_clusters
from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.listener import build_address, build_listeners
from meshproxy.config.problems import Problems
from meshproxy.config.reading import plain
from meshproxy.config.runtime import build_runtime
from meshproxy.config.stats_tags import build_tags
from meshproxy.config.supported_fields import EXTENSION_NAMES
from meshproxy.config.wasm import build_service
from meshproxy.errors import Code, ConfigError
from meshproxy.network.address import Address
from meshproxy.network.listener import ListenerConfig
from meshproxy.proxy_wasm.config import WasmServiceConfig
from meshproxy.stats.tags import TagProducer
from meshproxy.upstream.cluster import ClusterConfig
from meshproxy.upstream.host import NOWHERE, Locality

DEV_NULL: Final = "/dev/null"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """`node`: who this proxy is. `serialized` is the message as bytes, for guests that ask."""

    id: str = ""
    cluster: str = ""
    locality: Locality = NOWHERE
    metadata: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    serialized: bytes = b""


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """`admin`. Without an `address` there is no admin interface."""

    address: Address | None = None


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The whole configuration, compiled. No proto is needed to serve by it.

    `bootstrap` is the configuration as proto JSON with the field names of YAML, for `/config_dump`:
    secrets are in it. `runtime_layers` are the static layers by name, the strongest last, as
    (dotted key, text). `extensions` are (name, category, message) of what there is.
    """

    node: NodeConfig
    admin: AdminConfig
    listeners: tuple[ListenerConfig, ...]
    clusters: tuple[ClusterConfig, ...]
    runtime: Mapping[str, Any]
    runtime_layers: tuple[tuple[str, Mapping[str, str]], ...]
    extensions: tuple[tuple[str, str, str], ...]
    bootstrap: Mapping[str, Any]
    tags: TagProducer = field(default_factory=TagProducer)
    wasm_services: tuple[WasmServiceConfig, ...] = ()
    warnings: tuple[ConfigError, ...] = ()


def build(at: At, problems: Problems) -> ServerConfig:
    """Build everything; what cannot be built is noted and left out."""
    runtime = build_runtime(at, problems)
    resources = at.one("static_resources")
    cluster_messages = resources.many("clusters") if resources is not None else []
    listener_messages = resources.many("listeners") if resources is not None else []
    names = {each.message.name for each in cluster_messages}
    secret_messages = resources.many("secrets") if resources is not None else []
    secrets = {each.message.name: each for each in secret_messages}
    context = BuildContext(problems, runtime, names, secrets)
    listeners = build_listeners(listener_messages, context)
    services = [build_service(each, problems) for each in at.many("bootstrap_extensions")]
    return ServerConfig(
        node=_node(at),
        admin=_admin(at, problems),
        listeners=listeners,
        clusters=build_clusters(cluster_messages, context),
        runtime=MappingProxyType(runtime.values),
        runtime_layers=runtime.texts(),
        extensions=EXTENSION_NAMES,
        tags=build_tags(at, problems),
        wasm_services=tuple(each for each in services if each is not None),
        bootstrap=MappingProxyType(
            json_format.MessageToDict(at.message, preserving_proto_field_name=True)
        ),
    )


def _node(at: At) -> NodeConfig:
    node = at.one("node")
    if node is None:
        return NodeConfig()
    message = node.message
    where = message.locality
    return NodeConfig(
        id=message.id,
        cluster=message.cluster,
        locality=Locality(where.region, where.zone, where.sub_zone),
        metadata=MappingProxyType(plain(message.metadata)),
        fields=MappingProxyType(
            json_format.MessageToDict(message, preserving_proto_field_name=True)
        ),
        serialized=message.SerializeToString(deterministic=True),
    )


def _admin(at: At, problems: Problems) -> AdminConfig:
    admin = at.one("admin")
    if admin is None:
        return AdminConfig()
    # Nothing is logged of the admin interface, and that is what /dev/null asks for.
    for log in admin.many("access_log"):
        logger = log.unpack("typed_config")
        if logger is None or getattr(logger.message, "path", "") != DEV_NULL:
            text = "an access log of the admin interface is not supported"
            log.error(problems, Code.UNSUPPORTED_VALUE, text, expected=DEV_NULL)
    if admin.message.access_log_path not in {"", DEV_NULL}:
        text = "an access log of the admin interface is not supported"
        admin.error(problems, Code.UNSUPPORTED_VALUE, text, "access_log_path", expected=DEV_NULL)
    address = admin.one("address")
    return AdminConfig(build_address(address, problems) if address is not None else None)
