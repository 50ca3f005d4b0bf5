"""What the world gives to VMs, by injection: engine, clock, store, things that are shared.

Owns the names of the services. Refuses to make any: the server does, once per worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from meshproxy.http.dispatcher import Dispatcher, Timer
from meshproxy.proxy_wasm.grpc_client import GrpcClient
from meshproxy.proxy_wasm.pairs import Pair
from meshproxy.proxy_wasm.shared_data import SharedData
from meshproxy.proxy_wasm.shared_queue import SharedQueues
from meshproxy.stats.store import Store

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.expressions import ExpressionEngine
    from meshproxy.proxy_wasm.trace import Tracer
    from meshproxy.proxy_wasm.vm_pool import VmPool
    from meshproxy.wasm.code_source import Fetcher
    from meshproxy.wasm.engine import Engine


@dataclass(frozen=True, slots=True)
class HttpCallRequest:
    """What `proxy_http_call` asks for. `timeout` in seconds, 0 for none."""

    upstream: str
    headers: Sequence[Pair]
    body: bytes
    trailers: Sequence[Pair]
    timeout: float


@dataclass(frozen=True, slots=True)
class HttpCallResponse:
    """The answer; a failed call has a synthetic one (503, 504), as in Envoy.

    `failure`: why an answer that had begun was not completed; what came of it is left out.
    """

    headers: list[Pair]
    body: bytes = b""
    trailers: list[Pair] = field(default_factory=list)
    failure: str = ""


class HttpCaller(Protocol):
    """Calls a cluster from inside."""

    def call(
        self, request: HttpCallRequest, done: Callable[[HttpCallResponse], None]
    ) -> Timer | None:
        """Start the call; None where the cluster is unknown.

        `done` is called once, never before this returned; not after `cancel`.
        """


@dataclass(frozen=True, slots=True)
class Node:
    """`node` of the bootstrap for `xds.node`: the message's bytes, and its fields to walk."""

    serialized: bytes = b""
    fields: Mapping[str, Any] = field(default_factory=dict)


def at_once(work: Callable[[], Any], done: Callable[[Any], None]) -> None:
    """The offload of a process without threads: work is done here and now."""
    done(work())


@dataclass(slots=True)
class Services:
    """Everything a VM may use, one object per worker.

    offload: do what may block or take long somewhere else; `done` gets the result, here. The work
    must not raise.
    """

    dispatcher: Dispatcher
    store: Store
    own_engine: Engine | None = None  # in place of the engine of the process
    shared_data: SharedData = field(default_factory=SharedData)
    shared_queues: SharedQueues = field(default_factory=SharedQueues)
    node: Node = field(default_factory=Node)
    http_caller: HttpCaller | None = None
    grpc_client: GrpcClient | None = None
    expressions: ExpressionEngine | None = None
    tracer: Tracer | None = None  # told every call of every VM that starts from now on
    # What WASI's clocks say, in nanoseconds; the dispatcher's time may be as old as its turn.
    realtime: Callable[[], int] = time.time_ns
    monotonic: Callable[[], int] = time.monotonic_ns
    fetcher: Fetcher | None = None
    offload: Callable[[Callable[[], Any], Callable[[Any], None]], None] = at_once
    pool: VmPool | None = None  # made by the first plugin

    @property
    def engine(self) -> Engine:
        """What compiles and runs modules; loading it takes time that only plugins are worth."""
        if self.own_engine is None:
            from meshproxy.wasm.engine import process_engine

            self.own_engine = process_engine()
        return self.own_engine
