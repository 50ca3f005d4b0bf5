"""The command operators: what each `%NAME(argument)%` means for one stream.

Owns the list; an operator is in OPERATORS or it is an error. Refuses to know where values are
shown: an operator returns None for what is not set, and numbers as numbers.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from meshproxy.http.stream_info import SHORT_FLAGS, ResponseFlag

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
    wanted = _needs(argument).encode()

    def value(info: StreamInfo) -> Any:
        headers = info.request_headers
        path = headers.get(b":path") if headers is not None else None
        for field in (path or b"").partition(b"?")[2].split(b"&"):
            name, equals, text = field.partition(b"=")
            if equals and name == wanted:
                return _decode(text)
        return None

    return value


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

_FRACTION: Final = re.compile(r"%([1-9]?)f")


def _start_time(argument: str | None) -> Operator:
    """`(strftime format)`, with `%f %3f %6f` for fractions and `%s` for unix seconds."""
    if argument is None:

        def iso(info: StreamInfo) -> str:
            seconds, rest = divmod(info.start_time, 1)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            return f"{text}.{int(rest * 1000):03d}Z"

        return iso

    def formatted(info: StreamInfo) -> str:
        moment = info.start_time
        nanoseconds = f"{int(moment % 1 * 1_000_000_000):09d}"
        text = _FRACTION.sub(lambda found: nanoseconds[: int(found[1] or 9)], argument)
        text = text.replace("%s", str(int(moment)))
        return time.strftime(text, time.gmtime(moment))

    return formatted


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
        return None if start is None or end is None else int((end - start) * scale)

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
    def value(info: StreamInfo) -> str | None:
        bits = info.response_flags
        if not bits:
            return None
        return ",".join(names(flag) for flag in SHORT_FLAGS if bits & flag)

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
    key = _needs(argument).partition(":")[0]

    def value(info: StreamInfo) -> str | None:
        return _decode((info.filter_state or {}).get(key))

    return value


def _environment(argument: str | None) -> Operator:
    text = os.environ.get(_needs(argument))
    return lambda info: "-" if text is None else text


_HOSTNAME: Final = socket.gethostname()


def _grpc_status(info: StreamInfo) -> int | None:
    for headers in (info.response_trailers, info.response_headers):
        found = headers.get(b"grpc-status") if headers is not None else None
        if found is not None and found.isdigit():
            return int(found)
    return None


def _route_name(info: StreamInfo) -> str | None:
    return info.route_name or None


def _cluster_name(info: StreamInfo) -> str | None:
    return info.cluster.config.observability_name if info.cluster is not None else None


def _nothing(info: StreamInfo) -> None:
    """What only TLS or features that are not in use could set."""


_UNSET: Final = (
    "DOWNSTREAM_LOCAL_DNS_SAN", "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN", "DOWNSTREAM_PEER_CERT", "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START", "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256", "DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT", "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_SESSION_ID", "DOWNSTREAM_TLS_VERSION", "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "TLS_JA3_FINGERPRINT", "TRACE_ID", "UPSTREAM_PEER_CERT", "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT", "UPSTREAM_TLS_CIPHER", "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION", "VIRTUAL_CLUSTER_NAME",
)  # fmt: skip

OPERATORS: Final[dict[str, Maker]] = {
    "REQ": _header(lambda info: info.request_headers),
    "RESP": _header(lambda info: info.response_headers),
    "TRAILER": _header(lambda info: info.response_trailers),
    "QUERY_PARAM": _query_param,
    "PATH": _path,
    "START_TIME": _start_time,
    "DURATION": _plain(_since_start("response_end")),
    "REQUEST_DURATION": _plain(_since_start("request_complete")),
    "REQUEST_TX_DURATION": _plain(_since_start("upstream_request_end")),
    "RESPONSE_DURATION": _plain(_since_start("upstream_response_start")),
    "RESPONSE_TX_DURATION": _plain(_between("upstream_response_start", "response_end")),
    "COMMON_DURATION": _common_duration,
    "PROTOCOL": _plain(lambda info: info.protocol),
    "UPSTREAM_PROTOCOL": _plain(lambda info: info.upstream_protocol),
    "RESPONSE_CODE": _plain(lambda info: info.response_code or 0),
    "RESPONSE_CODE_DETAILS": _plain(lambda info: info.response_code_details),
    "CONNECTION_TERMINATION_DETAILS": _plain(lambda info: info.connection_termination_details),
    "RESPONSE_FLAGS": _plain(_flags(SHORT_FLAGS.__getitem__)),
    "RESPONSE_FLAGS_LONG": _plain(_flags(lambda flag: str(flag.name))),
    "BYTES_RECEIVED": _plain(lambda info: info.bytes_received),
    "BYTES_SENT": _plain(lambda info: info.bytes_sent),
    "ROUTE_NAME": _plain(_route_name),
    "UPSTREAM_CLUSTER": _plain(_cluster_name),
    "UPSTREAM_CLUSTER_RAW": _plain(lambda info: info.cluster_name or None),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": _plain(lambda info: info.attempt_count or 1),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": _plain(
        lambda info: info.upstream_transport_failure_reason
    ),
    "UPSTREAM_CONNECTION_ID": _plain(lambda info: info.upstream_connection_id),
    "CONNECTION_ID": _plain(lambda info: info.connection and info.connection.id),
    "REQUESTED_SERVER_NAME": _plain(
        lambda info: info.connection and info.connection.requested_server_name
    ),
    "STREAM_ID": _plain(lambda info: _decode(info.request_id)),
    "HOSTNAME": _plain(lambda info: _HOSTNAME),
    "ENVIRONMENT": _environment,
    "DYNAMIC_METADATA": _metadata,
    "METADATA": _typed_metadata,
    "FILTER_STATE": _filter_state,
    "GRPC_STATUS": _plain(_grpc_status),
    "GRPC_STATUS_NUMBER": _plain(_grpc_status),
    **_addresses("DOWNSTREAM_REMOTE_ADDRESS", _remote),
    **_addresses("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", _direct),
    **_addresses("DOWNSTREAM_LOCAL_ADDRESS", _local),
    **_addresses("UPSTREAM_REMOTE_ADDRESS", _upstream),
    **_addresses("UPSTREAM_LOCAL_ADDRESS", _upstream_local),
    "UPSTREAM_HOST": _plain(_address(_upstream, "text")),
    **{name: _plain(_nothing) for name in _UNSET},
}
