"""A gRPC client for plugins under test: remembers what was sent, answers when the test says so."""

from __future__ import annotations

from meshproxy.proxy_wasm.grpc_client import GrpcReceiver, GrpcRequest


class FakeGrpcStream:
    """One open stream; `sent` holds (message, end_stream), `events` what else happened."""

    def __init__(self, request: GrpcRequest, receiver: GrpcReceiver) -> None:
        self.request = request
        self.receiver = receiver
        self.sent: list[tuple[bytes, bool]] = []
        self.events: list[str] = []
        self.paused = False

    def send(self, message: bytes, end_stream: bool) -> None:
        self.sent.append((message, end_stream))

    def close(self) -> None:
        self.events.append("close")

    def reset(self) -> None:
        self.events.append("reset")


class FakeGrpcClient:
    """Knows the cluster `up`; `dead` refuses every stream."""

    def __init__(self) -> None:
        self.streams: list[FakeGrpcStream] = []
        self.dead = False

    def knows(self, cluster: str) -> bool:
        return cluster == "up"

    def open(self, request: GrpcRequest, receiver: GrpcReceiver) -> FakeGrpcStream | None:
        if self.dead:
            return None
        self.streams.append(FakeGrpcStream(request, receiver))
        return self.streams[-1]
