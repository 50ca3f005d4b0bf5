"""`meshproxy run`: an app and its sidecar, started and ended together, their logs in one stream.

Owns the two processes, and with `-f` several such pairs. Refuses to know daprd's flags: it fills in
what was not given.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol

from meshproxy.network.tasks import TaskOwner, spawn
from meshproxy.server.dapr import flags
from meshproxy.server.flags import FlagError

USAGE: Final = """\
usage: meshproxy run --app-id ID [--app-port PORT] [FLAG...] -- COMMAND [ARGUMENT...]
       meshproxy run -f FILE|DIR

Starts the sidecar, then COMMAND with DAPR_HTTP_PORT, DAPR_GRPC_PORT, APP_ID and APP_PORT in its
environment. Ports that are not given are free ones. When one of the two ends, so does the other;
the exit code is that of COMMAND.

FILE is a dapr.yaml, or DIR has one: all its apps are started, each with its sidecar. The exit code
is 0 where all of them ended with 0, or by a signal."""
GRACE: Final = 10.0
"""Seconds that a process has to end by itself."""
_PORTS: Final = range(20_000, 32_000)
"""Below those that Linux (32768) and macOS (49152) give away themselves."""
_LISTENING: Final = b"HTTP server listening on"


@dataclass(frozen=True, slots=True)
class Lines:
    """Where the lines of a process go: to the console with a prefix, to a file, or to both."""

    prefix: bytes
    console: bool = True
    file: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start: daprd's flags, all ports in them, and the app's command and variables.

    No command: the sidecar alone. `folder` is where both work, empty for here; `env` is the app's
    alone, `both` is for its sidecar too.
    """

    flags: tuple[str, ...]
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    both: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    app_lines: Lines = Lines(b"== APP == ")
    dapr_lines: Lines = Lines(b"== DAPR == ")


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
    if not command:
        raise FlagError(f"error: no command is given after --\n{USAGE}")
    return completed(head, command)


def completed(head: Sequence[str], command: Sequence[str]) -> Plan:
    """The plan for daprd's flags and a command. Raises FlagError."""
    given, rest = flags.parse(head)
    added: list[str] = []
    ports = {}
    for name in ("dapr-http-port", "dapr-grpc-port", "metrics-port"):
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
        "DAPR_METRICS_PORT": str(ports["metrics-port"]),
    }
    if options.app.port:
        env["APP_PORT"] = str(options.app.port)
    shown = [each for each in head if each not in {f"--{name}=0" for name in ports}]
    return Plan((*shown, *added), tuple(command), env)


def free_port() -> int:
    """A TCP port of loopback that nobody has just now.

    None of those that the system gives to whoever asks for any, or else it is soon the near end
    of somebody's connection, before the sidecar has it.
    """
    chance = random.SystemRandom()
    for port in (*(chance.choice(_PORTS) for _ in range(100)), 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise FlagError("there is no free port")


def main(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Raises FlagError."""
    file = _run_file(arguments)
    if file is not None:
        from meshproxy.server.dapr.run_file import plans

        return asyncio.run(run_all(plans(Path(file)), sys.stdout.buffer))
    return asyncio.run(run_all([plan(arguments)], sys.stdout.buffer))


def _run_file(arguments: Sequence[str]) -> str | None:
    """The value of `-f`, which stands alone. Raises FlagError."""
    head = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for index, argument in enumerate(head):
        name, equals, value = argument.partition("=")
        if name not in {"-f", "--run-file"}:
            continue
        value = value if equals else "".join(head[index + 1 : index + 2])
        if not value or len(arguments) != (1 if equals else 2):
            raise FlagError(f"error: -f has one FILE, and no other flag beside it\n{USAGE}")
        return value
    return None


async def run_all(planned: Sequence[Plan], output: Output) -> int:
    """Start every pair; a signal ends them all, and so does one whose sidecar does not start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    codes = await asyncio.gather(*(Pair(each, output, stop).run() for each in planned))
    return next(filter(None, codes), 0)


class Pair:
    """The app and its sidecar; `stop` ends both."""

    def __init__(self, planned: Plan, output: Output, stop: asyncio.Event) -> None:
        self._plan = planned
        self._output = output
        self._owner = TaskOwner()
        self._stop = stop
        self._listening = asyncio.Event()
        self._files: dict[str, IO[bytes]] = {}

    async def run(self) -> int:
        """Start both, and end both when one ends or it shall stop. Returns the exit code."""
        planned = self._plan
        for lines in (planned.app_lines, planned.dapr_lines):
            if lines.file:
                Path(lines.file).parent.mkdir(parents=True, exist_ok=True)
                self._files[lines.file] = Path(lines.file).open("wb")  # noqa: ASYNC230, SIM115
        try:
            return await self._run()
        finally:
            for file in self._files.values():
                file.close()

    async def _run(self) -> int:
        planned = self._plan
        command = (sys.executable, "-m", "meshproxy", *planned.flags)
        sidecar = await self._start(command, {})
        started = [sidecar]
        lines = [spawn(self._owner, self._relay(sidecar, planned.dapr_lines), "sidecar output")]
        try:
            await self._first(sidecar.wait(), self._listening.wait(), self._stop.wait())
            if not self._listening.is_set():
                ended, code = not self._stop.is_set(), sidecar.returncode or 1
                self._stop.set()
                return code if ended else 0
            if not planned.command:
                await self._first(sidecar.wait(), self._stop.wait())
                return 0 if self._stop.is_set() else sidecar.returncode or 0
            try:
                app = await self._start(planned.command, planned.env)
            except OSError as error:
                self._say(f"cannot start {planned.command[0]}: {error.strerror}")
                self._stop.set()
                return 127
            started.append(app)
            lines.append(spawn(self._owner, self._relay(app, planned.app_lines), "app output"))
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
            cwd=self._plan.folder or None,
            env={**os.environ, **self._plan.both, **env},
        )

    async def _first(self, *waits: Any) -> None:
        tasks = [spawn(self._owner, wait, "wait") for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _relay(self, process: asyncio.subprocess.Process, to: Lines) -> None:
        """Write each line of a process to where it goes; a last one without an end gets one."""
        assert process.stdout is not None
        rest = b""
        while data := await process.stdout.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > 65536:
                lines, rest = [*lines, rest], b""
            self._write(to, lines)
        self._write(to, [rest] if rest else [])

    def _write(self, to: Lines, lines: Sequence[bytes]) -> None:
        file = self._files.get(to.file)
        for line in lines:
            if to is self._plan.dapr_lines and _LISTENING in line:
                self._listening.set()
            if to.console:
                self._output.write(to.prefix + line + b"\n")
            if file is not None:
                file.write(line + b"\n")
        self._output.flush()
        if file is not None:
            file.flush()

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
