"""Foreign functions that keep something: declared properties, filter state, dynamic metadata.

Owns the arguments of `declare_property` and `set_envoy_filter_state` (Envoy's
source/extensions/common/wasm/ext/*.proto) and of our own `set_dynamic_metadata`. Refuses to know
where values are kept: contexts do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.proxy_wasm import wire_format as wire
from meshproxy.proxy_wasm.abi import BAD_ARGUMENT, NOT_FOUND, OK

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.context import Context

# LifeSpan of both messages; all others end with the stream.
FILTER_CHAIN: Final = 0
DOWNSTREAM_CONNECTION: Final = 2

MAX_DECLARED: Final = 1024
"""Properties that one root may declare."""


MAX_DOCUMENT: Final = 1 << 20
"""Bytes of metadata that a call may set; a stream has no room for more. Read before they are
counted, they would take their time."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared property: whether it can be set once only, and for how long it is kept."""

    readonly: bool = False
    span: int = FILTER_CHAIN


UNDECLARED: Final = Declared()


def declare_property(context: Context, arguments: bytes) -> bytes | int:
    """`DeclarePropertyArguments`: name 1, readonly 2, type 3, schema 4, span 5.

    Type and schema matter to who looks inside a value; a guest gets the bytes that it has set.
    BAD_ARGUMENT for what is no such message, and for a name that is declared already.
    """
    try:
        found = wire.message(arguments)
    except wire.WireError:
        return BAD_ARGUMENT
    name = wire.last_bytes(found, 1).decode("utf-8", "surrogateescape")
    declared = context.root.declared
    if name in declared or len(declared) >= MAX_DECLARED:
        return BAD_ARGUMENT
    declared[name] = Declared(bool(wire.last_int(found, 2)), wire.last_int(found, 5))
    return b""


def set_envoy_filter_state(context: Context, arguments: bytes) -> bytes | int:
    """`SetEnvoyFilterStateArguments`: path 1, value 2, span 3. The path gets no prefix."""
    try:
        found = wire.message(arguments)
    except wire.WireError:
        return BAD_ARGUMENT
    path = wire.last_bytes(found, 1).decode("utf-8", "surrogateescape")
    if not path or (context.vm.strict and path not in ENVOY_OBJECTS):
        return NOT_FOUND
    value, span = wire.last_bytes(found, 2), wire.last_int(found, 3)
    return context.set_filter_state(path, value, span) or b""


ENVOY_OBJECTS: Final = frozenset(
    (
        "envoy.bool",
        "envoy.filters.listener.original_dst.local_ip",
        "envoy.filters.listener.original_dst.remote_ip",
        "envoy.hashable_string",
        "envoy.network.application_protocols",
        "envoy.network.ip",
        "envoy.network.network_namespace",
        "envoy.network.transport_socket.original_dst_address",
        "envoy.network.upstream_server_name",
        "envoy.network.upstream_subject_alt_names",
        "envoy.ratelimit.hits_addend",
        "envoy.string",
        "envoy.tcp_proxy.cluster",
        "envoy.tcp_proxy.disable_tunneling",
        "envoy.tcp_proxy.per_connection_idle_timeout_ms",
        "envoy.upstream.dynamic_host",
        "envoy.upstream.dynamic_port",
    )
)
"""What Envoy can make an object of; to the friendly profile every name is one of bytes."""


def set_dynamic_metadata(context: Context, arguments: bytes) -> bytes | int:
    """JSON `{"namespace": {"key": value, ...}, ...}`: keys are added to the stream's metadata.

    Not in Envoy, which has no way for a filter to set them. They are read as
    `metadata.filter_metadata.<namespace>.<key>` and `%DYNAMIC_METADATA()%`. BAD_ARGUMENT for what
    is no such document.
    """
    if len(arguments) > MAX_DOCUMENT:
        return BAD_ARGUMENT
    try:
        document = json.loads(arguments)
    except (ValueError, RecursionError):
        return BAD_ARGUMENT
    if not isinstance(document, dict) or not all(
        isinstance(fields, dict) for fields in document.values()
    ):
        return BAD_ARGUMENT
    status = context.set_dynamic_metadata(document, len(arguments))
    return b"" if status == OK else status
