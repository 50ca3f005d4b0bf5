"""`meshproxy run`: an app and its sidecar, started and ended together, their logs in one stream.

Owns the two processes. Refuses to know daprd's flags: it fills in what was not given.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from meshproxy.network.tasks import TaskOwner, spawn
from meshproxy.server.dapr import flags
from meshproxy.server.flags import FlagError

USAGE: Final = """\
usage: meshproxy run --app-id ID [--app-port PORT] [FLAG...] -- COMMAND [ARGUMENT...]

Starts the sidecar, then COMMAND with DAPR_HTTP_PORT, DAPR_GRPC_PORT, APP_ID and APP_PORT in its
environment. Ports that are not given are free ones. When one of the two ends, so does the other;
the exit code is that of COMMAND."""
GRACE: Final = 10.0
"""Seconds that a process has to end by itself."""
_LISTENING: Final = b"HTTP server listening on"
_APP: Final = b"== APP == "
_DAPR: Final = b"== DAPR == "


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start: daprd's flags, all ports in them, and the app's command and variables."""

    flags: tuple[str, ...]
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


class Output(Protocol):
    """Where the lines go."""

    def write(self, data: bytes, /) -> Any:
        """Take whole lines."""

    def flush(self) -> None:
        """Let them be seen."""


def plan(arguments: Sequence[str]) -> Plan:
    """Read a command line. Raises FlagError."""
    head, command = list(arguments), []
    if "--" in head:
        at = head.index("--")
        head, command = head[:at], head[at + 1 :]
    if any(argument.partition("=")[0] in {"-f", "--run-file"} for argument in head):
        raise FlagError("--run-file is not supported: start each app by a command of its own")
    given, rest = flags.parse(head)
    if not command:
        raise FlagError(f"error: no command is given after --\n{USAGE}")
    added: list[str] = []
    ports = {}
    for name in ("dapr-http-port", "dapr-grpc-port"):
        ports[name] = given.get(name) or free_port()
        if ports[name] != given.get(name):
            added.append(f"--{name}={ports[name]}")
    if "dapr-listen-addresses" not in given:
        added.append("--dapr-listen-addresses=127.0.0.1")
    del rest  # Envoy's flags: the sidecar reads them itself
    options = flags.to_options({**given, **ports}, os.environ)  # refused here, before a start
    env = {
        "APP_ID": options.app_id,
        "DAPR_HTTP_PORT": str(ports["dapr-http-port"]),
        "DAPR_GRPC_PORT": str(ports["dapr-grpc-port"]),
    }
    if options.app.port:
        env["APP_PORT"] = str(options.app.port)
    shown = [each for each in head if each not in {"--dapr-http-port=0", "--dapr-grpc-port=0"}]
    return Plan((*shown, *added), tuple(command), env)


def free_port() -> int:
    """A TCP port of loopback that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Raises FlagError."""
    planned = plan(arguments)
    return asyncio.run(Pair(planned, sys.stdout.buffer).run())


class Pair:
    """The app and its sidecar."""

    def __init__(self, planned: Plan, output: Output) -> None:
        self._plan = planned
        self._output = output
        self._owner = TaskOwner()
        self._stop = asyncio.Event()
        self._listening = asyncio.Event()

    async def run(self) -> int:
        """Start both, and end both when one ends or a signal comes. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        sidecar = await self._start((sys.executable, "-m", "meshproxy", *self._plan.flags), {})
        started = [sidecar]
        lines = [spawn(self._owner, self._relay(sidecar, _DAPR), "sidecar output")]
        try:
            await self._first(sidecar.wait(), self._listening.wait(), self._stop.wait())
            if not self._listening.is_set():
                return 0 if self._stop.is_set() else sidecar.returncode or 1
            try:
                app = await self._start(self._plan.command, self._plan.env)
            except OSError as error:
                self._say(f"cannot start {self._plan.command[0]}: {error.strerror}")
                return 127
            started.append(app)
            lines.append(spawn(self._owner, self._relay(app, _APP), "app output"))
            await self._first(sidecar.wait(), app.wait(), self._stop.wait())
            return self._verdict(app)
        finally:
            # The app first: it may still need its sidecar to end well.
            for process in reversed(started):
                await _end(process)
            await asyncio.gather(*lines)
            await self._owner.close()

    def _verdict(self, app: asyncio.subprocess.Process) -> int:
        if app.returncode is not None:
            self._say(f"the app has ended with {app.returncode}")
            return app.returncode if app.returncode >= 0 else 128 - app.returncode
        if self._stop.is_set():
            return 0
        self._say("the sidecar has ended")
        return 1

    async def _start(
        self, command: Sequence[str], env: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        # A session of its own: Ctrl-C reaches this process alone, which ends the two in order.
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **env},
        )

    async def _first(self, *waits: Any) -> None:
        tasks = [spawn(self._owner, wait, "wait") for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _relay(self, process: asyncio.subprocess.Process, prefix: bytes) -> None:
        """Write each line of a process with its prefix; a last one without an end gets one."""
        assert process.stdout is not None
        rest = b""
        while data := await process.stdout.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > 65536:
                lines, rest = [*lines, rest], b""
            self._write(prefix, lines)
        self._write(prefix, [rest] if rest else [])

    def _write(self, prefix: bytes, lines: Sequence[bytes]) -> None:
        for line in lines:
            if prefix is _DAPR and _LISTENING in line:
                self._listening.set()
            self._output.write(prefix + line + b"\n")
        self._output.flush()

    def _say(self, text: str) -> None:
        self._output.write(text.encode() + b"\n")
        self._output.flush()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process and what it has started to end, and make them after `GRACE`."""
    _signal(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
