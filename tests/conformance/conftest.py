"""Envoy and meshproxy with the same probe."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conformance.harness import Both, Plugin, Side, configuration
from tests.support.grpc_server import GrpcServer
from tests.support.upstreams import RecordingUpstream, RefusingPort


class Pairs:
    """One running pair for each set of plugins; all end with the module."""

    def __init__(self, stack: ExitStack, up: RecordingUpstream, dead: int, grpc: int) -> None:
        self._stack = stack
        self._up = up
        self._dead = dead
        self._grpc = grpc
        self._running: dict[tuple[object, ...], Both] = {}
        self._alone: dict[Plugin, Side] = {}

    def alone(self, plugin: Plugin) -> Side:
        """meshproxy by itself, for what Envoy cannot be asked."""
        if plugin not in self._alone:
            side = Side("meshproxy", self._configuration((plugin,)), self._up)
            self._stack.callback(side.proxy.stop)
            side.start()
            self._alone[plugin] = side
        return self._alone[plugin]

    def of(self, *plugins: Plugin, limit: int = 0) -> Both:
        """The pair with these plugins, and this buffer limit; started at first use."""
        key = (*plugins, limit)
        if key not in self._running:
            yaml = self._configuration(plugins, limit)
            self._running[key] = self._stack.enter_context(Both(yaml, self._up))
        return self._running[key]

    def _configuration(self, plugins: tuple[Plugin, ...], limit: int = 0) -> str:
        return configuration(plugins, self._up.port, self._dead, self._grpc, limit=limit)


@pytest.fixture(scope="module")
def pairs() -> Iterator[Pairs]:
    with ExitStack() as stack:
        up = RecordingUpstream()
        stack.callback(lambda: up.stop(check=False))
        grpc = stack.enter_context(GrpcServer()).port
        yield Pairs(stack, up, stack.enter_context(RefusingPort()).port, grpc)
