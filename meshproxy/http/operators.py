"""The command operators: what each `%NAME(argument)%` means for one stream.

Owns the list; an operator is in OPERATORS or it is an error. Refuses to know where values are
shown: an operator returns None for what is not set, and numbers as numbers.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from meshproxy.http.stream_info import (
    FLAG_ORDER,
    RETRY_LIMIT_FIRST,
    SHORT_FLAGS,
    ResponseFlag,
)
from meshproxy.http.time_format import compile_time_format
from meshproxy.http.tls_operators import TLS_OPERATORS

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.http.stream_info import StreamInfo

Operator = Callable[["StreamInfo"], Any]
Maker = Callable[[str | None], Operator]


class FormatError(ValueError):
    """A format that does not parse. `position` counts its characters from 0."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


def nearest_operator(name: str) -> str | None:
    """The operator that was perhaps meant."""
    return next(iter(difflib.get_close_matches(name, OPERATORS, 1)), None)


def _decode(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")


def _plain(operator: Operator) -> Maker:
    """An operator that takes no argument."""

    def make(argument: str | None) -> Operator:
        if argument is not None:
            raise ValueError("takes no argument")
        return operator

    return make


def _needs(argument: str | None) -> str:
    if not argument:
        raise ValueError("needs an argument in parentheses")
    return argument


# -- headers -------------------------------------------------------------------------------------


def _header(headers_of: Callable[[StreamInfo], HeaderMap | None]) -> Maker:
    """REQ, RESP, TRAILER: `(X?Y)` is the header X, or Y where there is none."""

    def make(argument: str | None) -> Operator:
        names = [_name(part) for part in _needs(argument).split("?")]
        if len(names) > 2 or not all(names):
            raise ValueError("takes one header name, or two separated by '?'")

        def value(info: StreamInfo) -> Any:
            headers = headers_of(info)
            if headers is not None:
                for name in names:
                    found = headers.get(name)
                    if found is not None:
                        return _decode(found)
            return None

        return value

    return make


def _name(text: str) -> bytes:
    name = text.strip().lower().encode()
    return b":authority" if name == b"host" else name


def _query_param(argument: str | None) -> Operator:
    """`(NAME)`: the first value, percent-decoded."""
    wanted = _needs(argument).encode()

    def value(info: StreamInfo) -> Any:
        for field in (_query(info) or b"").split(b"&"):
            name, _, text = field.partition(b"=")
            if unquote_to_bytes(name) == wanted:
                return _decode(unquote_to_bytes(text))
        return None

    return value


def _query(info: StreamInfo) -> bytes | None:
    headers = info.request_headers
    path = headers.get(b":path") if headers is not None else None
    return path.partition(b"?")[2] or None if path is not None else None


def _path(argument: str | None) -> Operator:
    """`(WQ|NQ:ORIG|PATH|ORIG_OR_PATH)`: with or without query, of which path."""
    query, _, kind = (argument or "").partition(":")
    if query not in ("", "WQ", "NQ") or kind not in ("", "ORIG", "PATH", "ORIG_OR_PATH"):
        raise ValueError("takes WQ or NQ, then ORIG, PATH or ORIG_OR_PATH")
    names = {
        "ORIG": (b"x-envoy-original-path",),
        "PATH": (b":path",),
    }.get(kind, (b"x-envoy-original-path", b":path"))

    def value(info: StreamInfo) -> Any:
        headers = info.request_headers
        if headers is None:
            return None
        found = next((text for text in map(headers.get, names) if text is not None), None)
        if found is not None and query == "NQ":
            found = found.partition(b"?")[0]
        return _decode(found)

    return value


# -- times ---------------------------------------------------------------------------------------


def _start_time(argument: str | None) -> Operator:
    """`(FORMAT)`: strftime and Envoy's fractions."""
    render = compile_time_format(argument or "")
    return lambda info: render(info.start_time)


def _duration(info: StreamInfo) -> int:
    """Until the answer's end; until the last thing that happened, where it has none yet."""
    moments = (info.response_end, info.response_start, info.request_complete, info.start)
    return int((next(each for each in moments if each is not None) - info.start) * 1000)


def _since_start(attribute: str) -> Operator:
    def value(info: StreamInfo) -> int | None:
        moment = getattr(info, attribute)
        return None if moment is None else int((moment - info.start) * 1000)

    return value


def _between(first: str, last: str) -> Operator:
    def value(info: StreamInfo) -> int | None:
        start, end = getattr(info, first), getattr(info, last)
        return None if start is None or end is None else int((end - start) * 1000)

    return value


_MOMENTS: Final = {
    "DS_RX_BEG": "start",
    "DS_RX_END": "request_complete",
    "US_TX_BEG": "upstream_request_start",
    "US_TX_END": "upstream_request_end",
    "US_RX_BEG": "upstream_response_start",
    "US_RX_END": "upstream_response_end",
    "DS_TX_BEG": "response_start",
    "DS_TX_END": "response_end",
}
_UNITS: Final = {"ms": 1e3, "us": 1e6, "ns": 1e9}


def _common_duration(argument: str | None) -> Operator:
    """`(START:END:PRECISION)`."""
    parts = _needs(argument).split(":")
    if len(parts) not in (2, 3) or any(part not in _MOMENTS for part in parts[:2]):
        raise ValueError(f"takes START:END:ms|us|ns, of {', '.join(_MOMENTS)}")
    unit = _UNITS.get(parts[2] if len(parts) == 3 else "ms")
    if unit is None:
        raise ValueError("the precision is ms, us or ns")
    first, last, scale = _MOMENTS[parts[0]], _MOMENTS[parts[1]], unit

    def value(info: StreamInfo) -> int | None:
        start, end = getattr(info, first), getattr(info, last)
        if start is None or end is None or end < start:
            return None
        return int((end - start) * scale)

    return value


# -- addresses -----------------------------------------------------------------------------------


def _address(find: Callable[[StreamInfo], Any], part: str) -> Operator:
    def value(info: StreamInfo) -> Any:
        address = find(info)
        return None if address is None else getattr(address, part)

    return value


def _remote(info: StreamInfo) -> Any:
    return info.downstream_remote_address or _direct(info)


def _direct(info: StreamInfo) -> Any:
    return None if info.connection is None else info.connection.direct_remote_address


def _local(info: StreamInfo) -> Any:
    return None if info.connection is None else info.connection.local_address


def _upstream(info: StreamInfo) -> Any:
    return None if info.upstream_host is None else info.upstream_host.address


def _upstream_local(info: StreamInfo) -> Any:
    return info.upstream_local_address


def _addresses(name: str, find: Callable[[StreamInfo], Any]) -> dict[str, Maker]:
    return {
        name: _plain(_address(find, "text")),
        f"{name}_WITHOUT_PORT": _plain(_address(find, "without_port")),
        f"{name.removesuffix('_ADDRESS')}_PORT": _plain(_address(find, "port")),
    }


# -- facts ---------------------------------------------------------------------------------------


def _flags(names: Callable[[ResponseFlag], str]) -> Operator:
    def value(info: StreamInfo) -> str:
        bits = info.response_flags
        if not bits:
            return "-"
        order = RETRY_LIMIT_FIRST if info.retry_limit_first else FLAG_ORDER
        return ",".join(names(flag) for flag in order if bits & flag)

    return value


def _metadata(argument: str | None) -> Operator:
    """DYNAMIC_METADATA: `(NAMESPACE:KEY*)`."""
    namespace, *keys = _needs(argument).split(":")

    def value(info: StreamInfo) -> Any:
        found: Any = (info.dynamic_metadata or {}).get(namespace)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    return value


def _typed_metadata(argument: str | None) -> Operator:
    """METADATA: `(TYPE:NAMESPACE:KEY*)`."""
    kind, _, rest = _needs(argument).partition(":")
    if kind == "DYNAMIC":
        return _metadata(rest)
    owners: dict[str, Callable[[StreamInfo], Any]] = {
        "ROUTE": lambda info: info.route,
        "CLUSTER": lambda info: info.cluster and info.cluster.config,
        "UPSTREAM_HOST": lambda info: info.upstream_host,
        "VIRTUAL_HOST": lambda info: info.route and info.route.virtual_host,
    }
    if kind not in owners:
        raise ValueError(f"takes one of DYNAMIC, {', '.join(owners)}, then a namespace")
    owner = owners[kind]
    namespace, *keys = rest.split(":")

    def value(info: StreamInfo) -> Any:
        of = owner(info)
        found: Any = ((of.metadata if of is not None else None) or {}).get(namespace)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    return value


def _filter_state(argument: str | None) -> Operator:
    """`(KEY:PLAIN|TYPED)`."""
    key, _, kind = _needs(argument).partition(":")
    if not key or kind not in ("", "PLAIN", "TYPED"):
        raise ValueError("takes a key, then PLAIN or TYPED")

    def value(info: StreamInfo) -> str | None:
        return _decode((info.filter_state or {}).get(key))

    return value


def _details(argument: str | None) -> Operator:
    """`(ALLOW_WHITESPACES)`: without it a blank is an underscore."""
    if argument == "ALLOW_WHITESPACES":
        return lambda info: info.response_code_details
    if argument:
        raise ValueError("takes ALLOW_WHITESPACES or nothing")

    def value(info: StreamInfo) -> str | None:
        text = info.response_code_details
        return None if text is None else _BLANK.sub("_", text)

    return value


_BLANK: Final = re.compile(r"\s")


def _environment(argument: str | None) -> Operator:
    text = os.environ.get(_needs(argument))
    return lambda info: "-" if text is None else text


_HOSTNAME: Final = socket.gethostname()


_GRPC_NAMES: Final = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
    "AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted",
    "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip
# grpc/doc/http-grpc-status-mapping.md; every other status is Unknown.
_GRPC_FROM_HTTP: Final = {
    400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14,
}  # fmt: skip


def _grpc_status(argument: str | None) -> Operator:
    """`(CAMEL_STRING|SNAKE_STRING|NUMBER)`, for requests that are gRPC."""
    if argument not in (None, "", "CAMEL_STRING", "SNAKE_STRING", "NUMBER"):
        raise ValueError("takes CAMEL_STRING, SNAKE_STRING or NUMBER")

    def value(info: StreamInfo) -> str | int | None:
        number = _grpc_number(info)
        if number is None or argument == "NUMBER":
            return number
        if not 0 <= number < len(_GRPC_NAMES):
            return str(number)
        name = _GRPC_NAMES[number]
        if argument != "SNAKE_STRING":
            return name
        # absl spells it with two Ls
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
        return "CANCELLED" if number == 1 else snake

    return value


def _grpc_number(info: StreamInfo) -> int | None:
    headers = info.request_headers
    kind = (headers.get(b"content-type") if headers is not None else None) or b""
    if kind != b"application/grpc" and not kind.startswith(b"application/grpc+"):
        return None
    for answer in (info.response_trailers, info.response_headers):
        found = answer.get(b"grpc-status") if answer is not None else None
        if found is not None:
            return int(found) if found.isdigit() and len(found) < 10 else -1
    if info.response_code is None:
        return None
    return _GRPC_FROM_HTTP.get(info.response_code, 2)


def _size(headers_of: Callable[[StreamInfo], HeaderMap | None]) -> Maker:
    def value(info: StreamInfo) -> int:
        headers = headers_of(info)
        return 0 if headers is None else headers.byte_size()

    return _plain(value)


def _host_name(info: StreamInfo) -> str | None:
    host = info.upstream_host
    return None if host is None else host.hostname or host.address.text


def _failure_reason(info: StreamInfo) -> str | None:
    reason = info.upstream_transport_failure_reason
    return reason.replace(" ", "_") if reason else None


def _route_name(info: StreamInfo) -> str | None:
    return info.route_name or None


def _cluster_name(info: StreamInfo) -> str | None:
    return info.cluster.config.observability_name if info.cluster is not None else None


def _nothing(info: StreamInfo) -> None:
    """What only features that are not in use could set."""


_UNSET: Final = (
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON", "TLS_JA3_FINGERPRINT", "TRACE_ID",
    "VIRTUAL_CLUSTER_NAME",
)  # fmt: skip

OPERATORS: Final[dict[str, Maker]] = {
    "REQ": _header(lambda info: info.request_headers),
    "REQUEST_HEADER": _header(lambda info: info.request_headers),
    "RESP": _header(lambda info: info.response_headers),
    "RESPONSE_HEADER": _header(lambda info: info.response_headers),
    "TRAILER": _header(lambda info: info.response_trailers),
    "RESPONSE_TRAILER": _header(lambda info: info.response_trailers),
    "REQUEST_HEADERS_BYTES": _size(lambda info: info.request_headers),
    "RESPONSE_HEADERS_BYTES": _size(lambda info: info.response_headers),
    "RESPONSE_TRAILERS_BYTES": _size(lambda info: info.response_trailers),
    "QUERY_PARAM": _query_param,
    "QUERY_PARAMS": _plain(lambda info: _decode(_query(info))),
    "PATH": _path,
    "START_TIME": _start_time,
    "DURATION": _plain(_duration),
    "REQUEST_DURATION": _plain(_since_start("request_complete")),
    "REQUEST_TX_DURATION": _plain(_since_start("upstream_request_end")),
    "RESPONSE_DURATION": _plain(_since_start("upstream_response_start")),
    "RESPONSE_TX_DURATION": _plain(_between("upstream_response_start", "response_end")),
    "COMMON_DURATION": _common_duration,
    "PROTOCOL": _plain(lambda info: info.protocol),
    "UPSTREAM_PROTOCOL": _plain(lambda info: info.upstream_protocol),
    "RESPONSE_CODE": _plain(lambda info: info.response_code or 0),
    "RESPONSE_CODE_DETAILS": _details,
    "CONNECTION_TERMINATION_DETAILS": _plain(lambda info: info.connection_termination_details),
    "RESPONSE_FLAGS": _plain(_flags(SHORT_FLAGS.__getitem__)),
    "RESPONSE_FLAGS_LONG": _plain(_flags(lambda flag: str(flag.name))),
    "BYTES_RECEIVED": _plain(lambda info: info.bytes_received),
    "BYTES_SENT": _plain(lambda info: info.bytes_sent),
    "ROUTE_NAME": _plain(_route_name),
    "UPSTREAM_CLUSTER": _plain(_cluster_name),
    "UPSTREAM_CLUSTER_RAW": _plain(lambda info: info.cluster_name or None),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": _plain(lambda info: info.attempt_count),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": _plain(_failure_reason),
    "UPSTREAM_CONNECTION_ID": _plain(lambda info: info.upstream_connection_id or 0),
    "CONNECTION_ID": _plain(lambda info: info.connection and info.connection.id),
    "REQUESTED_SERVER_NAME": _plain(
        lambda info: info.connection and info.connection.requested_server_name
    ),
    "FILTER_CHAIN_NAME": _plain(
        lambda info: (info.connection and info.connection.filter_chain_name) or None
    ),
    "STREAM_ID": _plain(lambda info: _decode(info.request_id)),
    "HOSTNAME": _plain(lambda info: _HOSTNAME),
    "ENVIRONMENT": _environment,
    "DYNAMIC_METADATA": _metadata,
    "CLUSTER_METADATA": lambda argument: _typed_metadata(f"CLUSTER:{_needs(argument)}"),
    "UPSTREAM_METADATA": lambda argument: _typed_metadata(f"UPSTREAM_HOST:{_needs(argument)}"),
    "METADATA": _typed_metadata,
    "FILTER_STATE": _filter_state,
    "GRPC_STATUS": _grpc_status,
    "GRPC_STATUS_NUMBER": _plain(_grpc_number),
    "UNIQUE_ID": _plain(lambda info: str(uuid.uuid4())),
    **_addresses("DOWNSTREAM_REMOTE_ADDRESS", _remote),
    **_addresses("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", _direct),
    **_addresses("DOWNSTREAM_LOCAL_ADDRESS", _local),
    **_addresses("UPSTREAM_REMOTE_ADDRESS", _upstream),
    **_addresses("UPSTREAM_LOCAL_ADDRESS", _upstream_local),
    "UPSTREAM_HOST": _plain(_address(_upstream, "text")),
    "UPSTREAM_HOST_NAME": _plain(_host_name),
    **{name: _plain(_nothing) for name in _UNSET},
    **TLS_OPERATORS,
}

TAKES_LENGTH: Final = frozenset((
    "REQ", "REQUEST_HEADER", "RESP", "RESPONSE_HEADER", "TRAILER", "RESPONSE_TRAILER",
    "QUERY_PARAM", "PATH", "METADATA", "DYNAMIC_METADATA", "CLUSTER_METADATA",
    "UPSTREAM_METADATA", "FILTER_STATE", "ENVIRONMENT",
))  # fmt: skip
"""The operators of which `:LENGTH` may cut the text."""
