"""One gRPC call of one message each way, awaited. Knows no service.

Owns the wait. Connections, hosts and failures are the router's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from meshproxy.dapr.component import ComponentError
from meshproxy.router.grpc_client import GrpcCall, GrpcClient


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    """What has come back: gRPC's status with its text, and with status 0 the message."""

    status: int
    text: str
    message: bytes


async def unary(client: GrpcClient, call: GrpcCall, message: bytes) -> GrpcAnswer:
    """Call and wait. Raises ComponentError without a cluster; a cancelled caller gives it up."""
    done: asyncio.Future[GrpcAnswer] = asyncio.get_running_loop().create_future()

    def finish(status: int, text: str, answer: bytes) -> None:
        if not done.done():
            done.set_result(GrpcAnswer(status, text, answer))

    stream = client.unary(call, message, finish)
    if stream is None:
        raise ComponentError(f"there is no cluster '{call.cluster}'")
    try:
        return await done
    except asyncio.CancelledError:
        stream.reset()
        raise
