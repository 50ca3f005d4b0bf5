"""A meshproxy by daprd's command line; owns its ports, knows no call."""

import http.client
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from tests.support.processes import meshproxy_command
from tests.support.sidecar_nursery import Nursery
from tests.support.sidecar_process import SidecarProcess

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


class Sidecar(SidecarProcess):
    """A running sidecar on a free port of loopback. Use as a context manager."""

    def __init__(
        self,
        app_id: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        ready: bool = True,
        cpu: int | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        """`cpu`: the core that it is pinned to; `nursery`: what starts it faster."""
        super().__init__(f"sidecar-{app_id}")
        self._ready = ready
        command = [] if cpu is None else ["taskset", "-c", str(cpu)]
        command += [*meshproxy_command(), "--app-id", app_id, "--dapr-http-port", "0"]
        command += ["--dapr-grpc-port", "0", "--metrics-port", "0"]
        command += ["--dapr-listen-addresses", "127.0.0.1", *arguments]
        self.start(command, env or {}, nursery)

    @property
    def port(self) -> int:
        """Where the HTTP API is, since the last start of its runtime."""
        return int(_LISTENING.findall(self.log)[-1])

    def __enter__(self) -> Self:
        try:
            self.wait_started(self._is_up)
        except BaseException:
            self.end()
            raise
        return self

    def _is_up(self) -> bool:
        if _LISTENING.search(self.log) is None:
            return False
        return not self._ready or "dapr initialized" in self.log

    def __exit__(self, *error: object) -> None:
        self.end()

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
