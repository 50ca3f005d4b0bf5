"""Starts and ends a sidecar by daprd's command line; owns its port and its log, knows no call."""

import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.processes import START_TIMEOUT_S, STOP_TIMEOUT_S, StartError, meshproxy_command

_LISTENING = re.compile(r"HTTP server listening on TCP address: [\d.]+:(\d+)")
_GRPC = re.compile(r"gRPC server listening on TCP address: [\d.]+:(\d+)")
_INTERNAL = re.compile(r"internal server listening on TCP address: [\d.]+:(\d+)")


class Answer(NamedTuple):
    """One response; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Sidecar:
    """A running sidecar on a free port of loopback. Use as a context manager."""

    def __init__(
        self,
        app_id: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        ready: bool = True,
        cpu: int | None = None,
    ) -> None:
        """`cpu`: the core that it is pinned to."""
        self._ready = ready
        # Of its own: by default sidecars of one user find each other.
        self._folder = tempfile.mkdtemp(prefix=f"sidecar-{app_id}-")
        self._log = Path(self._folder, "log")
        command = [] if cpu is None else ["taskset", "-c", str(cpu)]
        command += [*meshproxy_command(), "--app-id", app_id, "--dapr-http-port", "0"]
        command += ["--dapr-grpc-port", "0", "--metrics-port", "0"]
        command += ["--dapr-listen-addresses", "127.0.0.1", *arguments]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "XDG_RUNTIME_DIR": self._folder, **(env or {})},
            )

    @property
    def port(self) -> int:
        """Where the HTTP API is, since the last start of its runtime."""
        return int(_LISTENING.findall(self.log)[-1])

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = self.log
                self.__exit__()
                raise StartError(f"the sidecar has not started\n{log}")
            time.sleep(0.02)
        return self

    def _is_up(self) -> bool:
        if _LISTENING.search(self.log) is None:
            return False
        return not self._ready or "dapr initialized" in self.log

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Until the log has this text."""
        self.wait_for_count(text, 1)

    def wait_for_count(self, text: str, count: int) -> None:
        """Until the log has this text so many times."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.log.count(text) < count:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"not {count} of '{text}' in\n{self.log}"
            time.sleep(0.02)

    def port_of(self, name: str) -> int:
        """The port of a further listener, by its word in the log: `public`, `metrics`."""
        match = re.search(rf"{name} server listening on TCP address: [\d.]+:(\d+)", self.log)
        assert match is not None, self.log
        return int(match[1])

    @property
    def internal_port(self) -> int:
        """Where other sidecars call."""
        match = _INTERNAL.search(self.log)
        assert match is not None
        return int(match[1])

    @property
    def grpc_port(self) -> int:
        """Where the gRPC API is."""
        match = _GRPC.search(self.log)
        assert match is not None
        return int(match[1])

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        port: int = 0,
    ) -> Answer:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            connection.request(method, path, data, dict(headers))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()
