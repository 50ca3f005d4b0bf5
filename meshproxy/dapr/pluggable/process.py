"""One process behind a socket: which services it has, calls to it, and streams from it.

Owns the cluster that leads there and the errors of the way. Refuses to know what a call means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.grpc_exchange import unary
from meshproxy.dapr.pluggable.messages import COMPONENTS, REFLECTION, message
from meshproxy.dapr.resiliency.policy import CodeError
from meshproxy.network.address import Address
from meshproxy.router.async_client import AsyncClient
from meshproxy.router.grpc_client import GrpcCall, GrpcClient, GrpcStream
from meshproxy.upstream.cluster import ClusterConfig, UpstreamProtocol
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.host import NOWHERE, EndpointConfig, Host

_REFLECTION_SERVICE: Final = f"{REFLECTION}.ServerReflection"
_INSTANCE: Final = b"x-component-instance"


class CallError(CodeError):
    """The process has refused a call, or could not be reached: `status` is gRPC's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text or f"status {status}", status)
        self.status: Final = status


class Process:
    """The process behind one socket, as the component of a name sees it."""

    def __init__(self, client: GrpcClient, cluster: str, instance: str) -> None:
        self._client = client
        self._cluster = cluster
        self._metadata: Final = ((_INSTANCE, instance.encode()),)

    async def services(self) -> frozenset[str]:
        """The names of its services without their package. Raises ComponentError."""
        ask = message("ServerReflectionRequest", REFLECTION)(list_services="*")
        listed: list[Any] = []
        stream = MessageStream(message("ServerReflectionResponse", REFLECTION), listed.append)
        stream.open(self._client, self._call(_REFLECTION_SERVICE, "ServerReflectionInfo"))
        stream.send(ask, end_stream=True)
        await stream.ended()
        names = [each.name for answer in listed for each in answer.list_services_response.service]
        prefix = f"{COMPONENTS}."
        return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    async def call(self, service: str, method: str, request: Any, answer: str = "Empty") -> Any:
        """One call; `answer` names the message that comes back. Raises CallError."""
        call = self._call(f"{COMPONENTS}.{service}", method)
        found = await unary(self._client, call, request.SerializeToString())
        if found.status:
            raise CallError(found.status, found.text)
        return _read(message(answer), found.message)

    async def init(self, service: str, properties: dict[str, str]) -> None:
        """Give the component behind a service its metadata. Raises CallError."""
        metadata = message("MetadataRequest")(properties=properties)
        await self.call(service, "Init", message("InitRequest")(metadata=metadata))

    def stream(
        self, service: str, method: str, answer: str, take: Callable[[Any], None]
    ) -> MessageStream:
        """A stream both ways, each of whose messages goes to `take`."""
        stream = MessageStream(message(answer), take)
        stream.open(self._client, self._call(f"{COMPONENTS}.{service}", method))
        return stream

    def _call(self, service: str, method: str) -> GrpcCall:
        return GrpcCall(self._cluster, f"/{service}/{method}", "localhost", self._metadata)


class MessageStream:
    """A call with many messages each way. Implements `GrpcReceiver`."""

    def __init__(self, answer: type[Any], take: Callable[[Any], None]) -> None:
        self._answer = answer
        self._take = take
        self._stream: GrpcStream | None = None
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self, client: GrpcClient, call: GrpcCall) -> None:
        """Begin. Raises ComponentError without a cluster."""
        self._stream = client.open(call, self)
        if self._stream is None:
            raise ComponentError(f"there is no cluster '{call.cluster}'")

    def send(self, request: Any, *, end_stream: bool = False) -> None:
        """One message to the process."""
        if self._stream is not None and not self._end.done():
            self._stream.send(request.SerializeToString(), end_stream)

    def hold(self, hold: bool) -> None:
        """Take no more for now, or more again: the process has to wait."""
        if self._stream is not None:
            self._stream.hold(hold)

    async def ended(self) -> None:
        """Return when the process has ended the stream well. Raises CallError."""
        await self._end

    def reset(self) -> None:
        """Give it up."""
        if self._stream is not None and not self._end.done():
            self._stream.reset()
            self._end.cancel()

    # -- GrpcReceiver ----------------------------------------------------------------------------

    def on_initial_metadata(self, metadata: list[tuple[bytes, bytes]]) -> None:
        """Nobody asks for it."""

    def on_message(self, message: bytes) -> None:
        """One message."""
        try:
            read = _read(self._answer, message)
        except ComponentError as error:
            assert self._stream is not None
            self._stream.reset()
            self._end.set_exception(error)
            return
        self._take(read)

    def on_trailing_metadata(self, metadata: list[tuple[bytes, bytes]]) -> None:
        """Nobody asks for it."""

    def on_close(self, status: int, message: str) -> None:
        """The end."""
        if self._end.done():
            return
        if status:
            self._end.set_exception(CallError(status, message))
        else:
            self._end.set_result(None)


def _read(answer: type[Any], data: bytes) -> Any:
    try:
        return answer.FromString(data)
    except DecodeError as error:
        text = f"the answer is no {answer.DESCRIPTOR.name}: {error}"
        raise ComponentError(text) from error


class Processes:
    """The way to every process: a cluster for each socket, made when it is first needed."""

    def __init__(self, clusters: ClusterManager, client: AsyncClient) -> None:
        self._clusters = clusters
        self._client = GrpcClient(client)

    def find(self, socket: Path, instance: str) -> Process:
        """The process behind a socket, for the component of that name."""
        name = f"dapr-pluggable/{socket.stem}"
        if self._clusters.get(name) is None:
            config = ClusterConfig(name, upstream_protocol=UpstreamProtocol.HTTP2)
            cluster = self._clusters.replace(config)
            endpoint = EndpointConfig("", 0, pipe=str(socket))
            cluster.set_hosts([Host(Address.pipe(str(socket)), endpoint, NOWHERE, 0)])
        return Process(self._client, name, instance)
