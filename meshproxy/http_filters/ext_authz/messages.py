"""`envoy.service.auth.v3.CheckRequest` and `CheckResponse`, between facts and bytes.

Owns the fields' numbers. Refuses to know the call, and what a decision does. The wire format is
read by hand: the generated classes stay on the floor of the configuration.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http_filters.ext_authz.decision import (
    ACTIONS,
    DENIED,
    ERROR,
    OK,
    Decision,
    Pair,
)
from meshproxy.http_filters.ext_authz.settings import FORBIDDEN
from meshproxy.proxy_wasm.property_values import metadata_message
from meshproxy.proxy_wasm.wire_format import (
    WireError,
    bytes_field,
    fields,
    int_field,
    last_bytes,
    last_int,
    message,
)
from meshproxy.router.header_mutation import APPEND_IF_EXISTS_OR_ADD, OVERWRITE_IF_EXISTS_OR_ADD
from meshproxy.router.matcher import header_name

if TYPE_CHECKING:
    from meshproxy.network.address import Address

MAX_DEPTH: Final = 32
"""How deep the values of the dynamic metadata may nest."""

_double: Final = struct.Struct("<d").unpack


@dataclass(slots=True)
class Peer:
    """`AttributeContext.Peer`: one end of the client's connection."""

    address: Address | None
    principal: str = ""
    service: bytes = b""
    certificate: str = ""


@dataclass(slots=True)
class Attributes:
    """What the server is told of a request. `headers` are pairs that may repeat; `time` is Unix
    seconds; `server_name` None leaves the TLS session out.
    """

    source: Peer
    destination: Peer
    time: float
    id: int
    headers: list[Pair]
    request: Mapping[bytes, bytes]  # method, path, authority and scheme, as pseudo headers
    protocol: str
    size: int
    raw_headers: bool = False
    body: bytes | None = None
    raw_body: bool = False
    context_extensions: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    route_metadata: Mapping[str, Any] = field(default_factory=dict)
    server_name: str | None = None


def encode_check(of: Attributes) -> bytes:
    """A serialized CheckRequest."""
    seconds = int(of.time)
    time = int_field(1, seconds) + int_field(2, int((of.time - seconds) * 1e9))
    parts = [
        bytes_field(1, _peer(of.source)),
        bytes_field(2, _peer(of.destination)),
        bytes_field(4, bytes_field(1, time) + bytes_field(2, _http_request(of))),
        *(
            _entry(10, name.encode(), value.encode())
            for name, value in of.context_extensions.items()
        ),
        bytes_field(11, metadata_message(of.metadata)),
        bytes_field(13, metadata_message(of.route_metadata)),
    ]
    if of.server_name is not None:
        parts.append(bytes_field(12, _text(1, of.server_name.encode())))
    return bytes_field(1, b"".join(parts))


def _peer(peer: Peer) -> bytes:
    parts = []
    address = peer.address
    if address is not None and address.ip:
        socket_address = _text(2, address.ip.encode()) + int_field(3, address.port)
        parts.append(bytes_field(1, bytes_field(1, socket_address)))
    elif address is not None:
        parts.append(bytes_field(1, bytes_field(2, _text(1, address.text.encode()))))
    parts.append(_text(2, sanitized(peer.service)))
    parts.append(_text(4, peer.principal.encode("utf-8", "replace")))
    parts.append(_text(5, peer.certificate.encode()))
    return b"".join(parts)


def _http_request(of: Attributes) -> bytes:
    request = of.request
    parts = [_text(1, b"%d" % of.id), _text(2, sanitized(request.get(b":method", b"")))]
    if of.raw_headers:
        listed = [bytes_field(1, _text(1, name) + _text(3, value)) for name, value in of.headers]
        parts.append(bytes_field(13, b"".join(listed)))
    else:
        joined: dict[bytes, bytes] = {}
        for name, value in of.headers:
            joined[name] = joined[name] + b"," + value if name in joined else value
        parts += [_entry(3, sanitized(name), sanitized(v)) for name, v in joined.items()]
    parts += [
        _text(4, sanitized(request.get(b":path", b""))),
        _text(5, sanitized(request.get(b":authority", b""))),
        _text(6, sanitized(request.get(b":scheme", b""))),
        int_field(9, of.size) if of.size else b"",
        _text(10, of.protocol.encode()),
    ]
    if of.body is not None:
        parts.append(_text(12, of.body) if of.raw_body else _text(11, sanitized(of.body)))
    return b"".join(parts)


def _text(number: int, value: bytes) -> bytes:
    return bytes_field(number, value) if value else b""


def _entry(number: int, key: bytes, value: bytes) -> bytes:
    """One entry of a map from string to string."""
    return bytes_field(number, bytes_field(1, key) + bytes_field(2, value))


def sanitized(value: bytes) -> bytes:
    """UTF-8, with a `!` for every byte that is none, as Envoy makes it."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("utf-8", "surrogateescape")
        return "".join("!" if "\ud800" <= c <= "\udfff" else c for c in text).encode()
    return value


def decode_check(data: bytes) -> Decision:
    """The decision in a serialized CheckResponse. Raises WireError where it is none."""
    response = message(data)
    if last_int(message(last_bytes(response, 1)), 1) == 0:
        decision = _ok(message(last_bytes(response, 3))) if 3 in response else Decision(OK)
    elif 5 in response:
        decision = _reply(ERROR, last_bytes(response, 5), 0)
    else:
        decision = _reply(DENIED, last_bytes(response, 2), FORBIDDEN)
    # The deprecated place goes before the new one.
    older = message(last_bytes(response, 3))
    metadata = last_bytes(older, 3) if 3 in older else last_bytes(response, 4)
    decision.dynamic_metadata = _struct(metadata, 0)
    return decision


def _ok(response: dict[int, list[int | bytes]]) -> Decision:
    decision = Decision(OK)
    for option in _all(response, 2):
        pair, append, action = _option(option)
        decision.has_unknown_action |= action not in ACTIONS
        (decision.headers_to_append if append else decision.headers_to_set).append(pair)
    decision.headers_to_remove = [_name(each) for each in _all(response, 5)]
    for option in _all(response, 6):
        pair, append, action = _option(option)
        if append is not None:
            action = APPEND_IF_EXISTS_OR_ADD if append else OVERWRITE_IF_EXISTS_OR_ADD
        if action in ACTIONS:
            decision.response_headers.append((action, pair))
        else:
            decision.has_unknown_action = True
    for each in _all(response, 7):
        parameter = message(each)
        pair = last_bytes(parameter, 1), last_bytes(parameter, 2)
        decision.query_parameters_to_set.append(pair)
    decision.query_parameters_to_remove = _all(response, 8)
    return decision


def _reply(status: int, data: bytes, status_code: int) -> Decision:
    response = message(data)
    code = last_int(message(last_bytes(response, 1)), 1) or status_code
    decision = Decision(status, status_code=code, body=last_bytes(response, 3))
    for option in _all(response, 2):
        pair, append, _ = _option(option)
        if not append:
            decision.reply_headers.append(pair)
    return decision


def _all(values: dict[int, list[int | bytes]], number: int) -> list[bytes]:
    return [each for each in values.get(number, ()) if isinstance(each, bytes)]


def _option(data: bytes) -> tuple[Pair, bool | None, int]:
    """A HeaderValueOption: name and value, the deprecated `append`, the append action."""
    option = message(data)
    header = message(last_bytes(option, 1))
    append = bool(last_int(message(last_bytes(option, 2)), 1)) if 2 in option else None
    return (_name(last_bytes(header, 1)), last_bytes(header, 2)), append, last_int(option, 3)


def _name(data: bytes) -> bytes:
    return header_name(data.decode("latin-1"))


def _struct(data: bytes, depth: int) -> dict[str, Any]:
    """A Struct as plain data; whole numbers are ints, as in the configuration."""
    found: dict[str, Any] = {}
    for entry in _all(message(data), 1):
        pair = message(entry)
        found[last_bytes(pair, 1).decode("utf-8", "replace")] = _value(
            last_bytes(pair, 2), depth + 1
        )
    return found


def _value(data: bytes, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError("the dynamic metadata nest too deep")
    value: Any = None
    for number, raw in fields(data):
        if number == 2 and isinstance(raw, bytes) and len(raw) == 8:
            [real] = _double(raw)
            value = int(real) if real.is_integer() else real
        elif number == 4:
            value = bool(raw)
        elif isinstance(raw, bytes):
            if number == 3:
                value = raw.decode("utf-8", "replace")
            elif number == 5:
                value = _struct(raw, depth)
            elif number == 6:
                value = [_value(each, depth + 1) for each in _all(message(raw), 1)]
    return value
