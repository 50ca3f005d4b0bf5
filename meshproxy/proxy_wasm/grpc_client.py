"""What `proxy_grpc_call` and `proxy_grpc_stream` need of the world: a client, by injection.

Owns the contract, and the reading of the `service` argument. Refuses to know HTTP/2, clusters and
framing: the client does (a message here is a message, without its five bytes of prefix).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from meshproxy.proxy_wasm import wire_format as wire
from meshproxy.proxy_wasm.pairs import Pair

# gRPC status codes that the host itself gives.
GRPC_OK: Final = 0
GRPC_INTERNAL: Final = 13

# Field numbers of envoy.config.core.v3.GrpcService, .EnvoyGrpc and HeaderValue
_ENVOY_GRPC: Final = 1
_GOOGLE_GRPC: Final = 2
_TIMEOUT: Final = 3
_INITIAL_METADATA: Final = 5


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """Where a call goes. `authority` is empty for the cluster's name; `metadata` comes first.

    `timeout`: seconds of `GrpcService.timeout`, 0 for none; a call's own timeout overrides it.
    """

    cluster: str
    authority: str = ""
    metadata: tuple[Pair, ...] = ()
    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class GrpcRequest:
    """What a stream is opened with. `path` is `/service/method`; `timeout` in seconds, 0 for
    none.
    """

    target: GrpcTarget
    path: str
    metadata: Sequence[Pair]
    timeout: float


class GrpcReceiver(Protocol):
    """Told what comes back on a stream, in this order; nothing before `open` has returned.

    Nothing comes after `on_close`, nor after `reset`. A stream that ends always ends with it.
    """

    def on_initial_metadata(self, metadata: list[Pair]) -> None:
        """The response's headers; empty for a trailers-only response."""

    def on_message(self, message: bytes) -> None:
        """One message."""

    def on_trailing_metadata(self, metadata: list[Pair]) -> None:
        """The response's trailers; left out where there is no response."""

    def on_close(self, status: int, message: str) -> None:
        """The end: a gRPC status code (14 where there was no connection) and its text."""


class GrpcStream(Protocol):
    """An open stream."""

    @property
    def paused(self) -> bool:
        """Whether what is sent now waits here, because the peer does not take it."""

    def send(self, message: bytes, end_stream: bool) -> None:
        """Send one message; `end_stream`: the last one."""

    def close(self) -> None:
        """There are no more messages from here; the peer may still send."""

    def reset(self) -> None:
        """Give the stream up; the receiver hears nothing more."""


class GrpcClient(Protocol):
    """Opens streams to clusters."""

    def knows(self, cluster: str) -> bool:
        """Whether there is such a cluster."""

    def open(self, request: GrpcRequest, receiver: GrpcReceiver) -> GrpcStream | None:
        """Open a stream; None where that cannot be tried at all. Every later failure comes to
        the receiver.
        """


def read_target(service: bytes) -> GrpcTarget | None:
    """The `service` argument: a serialized `GrpcService`, else a cluster's name.

    None for what is neither, and for a `google_grpc` target, which has no cluster.
    """
    try:
        return _grpc_service(wire.message(service))
    except (wire.WireError, UnicodeDecodeError):
        pass
    try:
        return GrpcTarget(service.decode())
    except UnicodeDecodeError:
        return None


def _grpc_service(found: dict[int, list[int | bytes]]) -> GrpcTarget | None:
    if _GOOGLE_GRPC in found:
        return None
    if _ENVOY_GRPC not in found:
        raise wire.WireError("no target")
    envoy_grpc = wire.message(wire.last_bytes(found, _ENVOY_GRPC))
    metadata = []
    for value in found.get(_INITIAL_METADATA, ()):
        header = wire.message(value if isinstance(value, bytes) else b"")
        raw = wire.last_bytes(header, 3)
        metadata.append((wire.last_bytes(header, 1).lower(), raw or wire.last_bytes(header, 2)))
    duration = wire.message(wire.last_bytes(found, _TIMEOUT))
    return GrpcTarget(
        wire.last_bytes(envoy_grpc, 1).decode(),
        wire.last_bytes(envoy_grpc, 2).decode(),
        tuple(metadata),
        wire.last_int(duration, 1) + wire.last_int(duration, 2) / 1e9,
    )
