"""What a request costs in the process alone: the whole server, with nothing where its sockets are.

    python -m tests.perf.in_process [--filters 1]                  # microseconds
    python -m tests.perf.in_process [--filters 1] --instructions   # needs valgrind

Many connections take turns, so that caches are about as cold as in a real run. Microseconds are
those of the best rounds; instructions (of callgrind) are the same on the busiest machine, and its
file, which is kept, tells them by function.
"""

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from meshproxy.config import load_config
from meshproxy.network.connection import Connection, batch
from meshproxy.network.connector import ConnectingOwner, ConnectOptions, Connector
from meshproxy.server.options import Options
from meshproxy.server.server import Server
from tests.perf.cases import http1

CONNECTIONS: Final = 32
ROUNDS: Final = 20
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:10000\r\n\r\n"
RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 35\r\n\r\n"
    b"an answer of exactly 35 bytes, so.\n"
)
# Under valgrind a callback takes longer than it may.
_RUNTIME: Final = "runtime: envoy.wasm.runtime.v8\n"
_PATIENCE: Final = (
    f"{' ' * 18}environment_variables: {{key_values: {{MESHPROXY_CALLBACK_TIMEOUT: 60s}}}}\n"
)
_CHILD: Final = "MESHPROXY_UNDER_CALLGRIND"


class Transport:
    """Notes whose bytes are written, and forgets the bytes."""

    def __init__(self, written: list[Connection], connection: Connection) -> None:
        self._written = written
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._written.append(self._connection)

    def writelines(self, pieces: Sequence[bytes]) -> None:
        self._written.append(self._connection)

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 10000) if name in ("sockname", "peername") else None

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    resume_reading = close = abort = pause_reading


class Bench(Server):
    """A server that measures itself when it is ready, and ends."""

    def __init__(self, prepared: Any, seconds: float) -> None:
        super().__init__(Options(), prepared, time.monotonic(), lambda: None)
        self.downstream: list[Connection] = []  # who has been written to since the last look
        self.upstream: list[Connection] = []
        self.connecting: list[Connection] = []
        self.seconds = seconds
        self.line = ""

    def _ready(self) -> None:
        super()._ready()
        self._quit.set()

    async def _end(self) -> None:
        self.line = await self.measure(self.seconds)
        await super()._end()

    async def measure(self, seconds: float) -> str:
        """The result as a line; none under callgrind, which has it."""
        clients = [self._client() for _ in range(CONNECTIONS)]
        self.round(clients)  # wants the upstream connections
        for each in self.connecting:
            each.connection_made(Transport(self.upstream, each))  # type: ignore[arg-type]
        await asyncio.sleep(0)  # the pool gives them out in the loop's next turn
        self._answer()
        for _ in range(ROUNDS):
            self.round(clients)
        if _CHILD in os.environ:
            return self._count(clients)
        best, end = 1e9, time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(ROUNDS):
                began = time.perf_counter()
                self.round(clients)
                best = min(best, time.perf_counter() - began)
            await asyncio.sleep(0)
        return f"{best / CONNECTIONS * 1e6:.1f} us a request"

    def round(self, clients: Sequence[Connection]) -> None:
        """One request on every connection, then their answers."""
        for client in clients:
            client.data_received(REQUEST)
        batch.flush()
        self._answer()
        self.downstream.clear()

    def connect(self, owner: ConnectingOwner, address: object, options: ConnectOptions) -> None:
        """`Connector.connect`, to nowhere."""
        made = Connection(owner, options.buffer_limit, options.received, options.sent)
        self.connecting.append(made)

    def _client(self) -> Connection:
        made = self.listeners[0]._accept()
        made.connection_made(Transport(self.downstream, made))  # type: ignore[arg-type]
        return made

    def _answer(self) -> None:
        asked, self.upstream[:] = self.upstream.copy(), []
        for each in asked:
            each.data_received(RESPONSE)
        batch.flush()

    def _count(self, clients: Sequence[Connection]) -> str:
        callgrind_control("--instr=on")
        self.round(clients)
        callgrind_control("--zero")
        for _ in range(ROUNDS):
            self.round(clients)
        callgrind_control("--dump")
        return ""


def callgrind_control(command: str) -> None:
    """Tell the callgrind under which this process runs."""
    program = ["callgrind_control", command, str(os.getpid())]
    subprocess.run(program, check=True, capture_output=True)


async def measure(filters: int, seconds: float) -> str:
    """Start the server with so many Wasm filters, and measure it; the result as a line."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(http1(filters)(1).replace(_RUNTIME, _RUNTIME + _PATIENCE))
        file.flush()
        config = load_config(file.name, "", allow_unsupported=False)
    bench = Bench((config, None), seconds)
    Connector.connect = (  # type: ignore[method-assign]
        lambda self, owner, address, options: bench.connect(owner, address, options)
    )
    await bench.serve()
    return bench.line


def count(filters: int) -> str:
    """Do so under callgrind; the number of instructions as a line."""
    out = Path(tempfile.mkdtemp(prefix="callgrind-"), "out")
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--smc-check=all-non-file"]
    command += [f"--callgrind-out-file={out}", sys.executable, "-m", __spec__.name]
    environment = os.environ | {_CHILD: "1", "PYTHONHASHSEED": "0"}
    subprocess.run([*command, "--filters", str(filters)], check=True, env=environment)
    dump = out.with_name("out.1")
    total = next(line for line in dump.read_text().splitlines() if line.startswith("summary:"))
    each = int(total.split()[1]) / ROUNDS / CONNECTIONS
    return f"{each:,.0f} instructions a request; for more: callgrind_annotate {dump}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--filters", type=int, default=0, help="how many Wasm filters")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to look for the best")
    parser.add_argument("--instructions", action="store_true", help="count them with valgrind")
    options = parser.parse_args()
    if options.instructions:
        print(count(options.filters))
        return
    gc.set_threshold(50_000, 20, 100)  # as the command line does
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(measure(options.filters, options.seconds)))


if __name__ == "__main__":
    main()
