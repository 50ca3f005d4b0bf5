"""Runs daprd and meshproxy by one command line and one set of files; compares what they answer."""

import http.client
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2  # noqa: F401 - the details are shown by their messages
from grpc_status import rpc_status

from tests.parity_daprd.observed import compared, read_body, read_headers
from tests.parity_daprd.recorder import Answering, Recorder
from tests.support.processes import meshproxy_command
from tests.support.sidecar_process import SidecarProcess

TIMEOUT_S: Final = 20.0
DAPR: Final = "/dapr.proto.runtime.v1.Dapr/"
NAMES: Final = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration: {connectionString: "{folder}/names.db"}
"""
COMMANDS: Final[Mapping[str, Callable[[], list[str]]]] = {
    "daprd": lambda: [os.environ["DAPRD"]],
    "meshproxy": meshproxy_command,
}


@dataclass(frozen=True, slots=True)
class Setup:
    """How both sidecars are started.

    `resources`: text by the file's name; `config`: of `--config`. In each, and in the arguments,
    `{folder}` is a folder of the sidecar's own, `{app}` its app's port, and each name of `values`
    one of two, daprd's first. `app`: what the app answers, None for no app; `app_port`: of an app
    of one's own, for each kind of sidecar.
    """

    app_id: str = "app"
    arguments: Sequence[str] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    config: str = NAMES
    env: Mapping[str, str] = field(default_factory=dict)
    app: Mapping[str, Answering] | None = None
    app_port: Mapping[str, int] | None = None
    ready: str = "dapr initialized"
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class Answer(NamedTuple):
    """One HTTP response."""

    status: int
    headers: dict[str, list[str]]
    body: Any


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now: daprd takes no port 0."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Side(SidecarProcess):
    """One sidecar with its app, its folder, its log. Use as a context manager."""

    def __init__(self, kind: str, setup: Setup) -> None:
        super().__init__(f"{kind}-{setup.app_id}")
        self.kind = kind
        self.setup = setup
        self.app = Recorder(setup.app) if setup.app is not None else None
        self.port, self.grpc_port, self.internal_port, self.metrics_port = free_ports(4)
        self._stack = ExitStack()
        self.channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        self._stack.callback(self.end)
        try:
            if self.app is not None:
                self._stack.enter_context(self.app)
            self.start(self.command(), self.setup.env)
            self.wait_started(lambda: self.setup.ready in self.log)
        except BaseException:
            self.__exit__()
            raise
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.grpc_port}", [("grpc.use_local_subchannel_pool", 1)]
        )
        self._stack.callback(self.channel.close)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_text(self._filled(text))
        return path

    def _filled(self, text: str) -> str:
        for name, values in self.setup.values.items():
            text = text.replace(f"{{{name}}}", values[self.kind == "meshproxy"])
        if self.app is not None:
            text = text.replace("{app}", str(self.app.port))
        return text.replace("{folder}", str(self.folder))

    def command(self) -> list[str]:
        """The whole command line; writes the files that it names."""
        setup = self.setup
        command = [*COMMANDS[self.kind](), "--app-id", setup.app_id]
        command += ["--dapr-http-port", str(self.port), "--dapr-grpc-port", str(self.grpc_port)]
        command += ["--dapr-internal-grpc-port", str(self.internal_port)]
        command += ["--dapr-internal-grpc-listen-address", "127.0.0.1"]
        command += ["--metrics-port", str(self.metrics_port)]
        command += ["--metrics-listen-address", "127.0.0.1"]
        command += ["--dapr-listen-addresses", "127.0.0.1"]
        if setup.config:
            command += ["--config", str(self._write(self.folder / "config.yaml", setup.config))]
        for name, text in setup.resources.items():
            self._write(self.folder / "resources" / name, text)
        if setup.resources:
            command += ["--resources-path", str(self.folder / "resources")]
        if self.app is not None:
            command += ["--app-port", str(self.app.port)]
        if setup.app_port is not None:
            command += ["--app-port", str(setup.app_port[self.kind])]
        return command + [self._filled(each) for each in setup.arguments]

    def http(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        port: int = 0,
    ) -> Answer:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, data, dict(headers))
            response = connection.getresponse()
            read = read_headers(response.getheaders())
            return Answer(response.status, read, read_body(response.read()))
        finally:
            connection.close()

    def raw(self, data: bytes) -> Answer:
        """One request as bytes, its answer's head and body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as peer:
            peer.sendall(data)
            response = http.client.HTTPResponse(peer)
            response.begin()
            read = read_headers(response.getheaders())
            return Answer(response.status, read, read_body(response.read()))

    def grpc(
        self,
        method: str,
        request: Message,
        answer: type[Message],
        metadata: Sequence[tuple[str, str]] = (),
    ) -> dict[str, Any]:
        """One unary call of the Dapr service: code, message, details, answer and metadata."""
        assert self.channel is not None
        name = method if method.startswith("/") else DAPR + method
        call = self.channel.unary_unary(
            name, lambda message: message.SerializeToString(), answer.FromString
        )
        try:
            message, seen = call.with_call(request, timeout=TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            return failure(error)
        return {
            "code": "OK",
            "answer": as_dict(message),
            "headers": read_headers(seen.initial_metadata() or ()),
            "trailers": read_headers(seen.trailing_metadata() or ()),
        }


def as_dict(message: Message) -> Any:
    """A message as JSON has it, by the proto's own names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def failure(error: Any) -> dict[str, Any]:
    """What a client sees of a call that failed."""
    try:
        status = rpc_status.from_call(error)
    except ValueError as mismatch:
        return {"code": error.code().name, "message": error.details(), "status": str(mismatch)}
    details = [as_dict(each) for each in status.details] if status is not None else None
    return {
        "code": error.code().name,
        "message": error.details(),
        "details": details,
        "headers": read_headers(error.initial_metadata() or ()),
    }


class Pair:
    """daprd and meshproxy, started alike. Use as a context manager.

    What differs is kept until `check`, so that one test tells all that it has seen.
    """

    def __init__(self, setup: Setup) -> None:
        self._found: list[str] = []
        self.daprd = Side("daprd", setup)
        self.meshproxy = Side("meshproxy", setup)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.daprd)
            stack.enter_context(self.meshproxy)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def sides(self) -> tuple[Side, Side]:
        """daprd first."""
        return self.daprd, self.meshproxy

    def same(self, name: str, act: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Do the same with both, `act(side, ...)`; compare what comes back; daprd's value."""
        expected, measured = [_plain(act(side, *arguments, **more)) for side in self.sides]
        self._found += compared(name, expected, measured)
        return expected

    def check(self) -> None:
        """Fail when anything has differed since the last check."""
        found, self._found = self._found, []
        assert not found, "\n".join(["daprd's, not ours:", *found])

    def same_http(self, name: str, *arguments: Any, **more: Any) -> Answer:
        """The same HTTP request, see `Side.http`."""
        answer = self.same(name, Side.http, *arguments, **more)
        return Answer(answer["status"], answer["headers"], answer["body"])

    def same_grpc(self, name: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        """The same call, see `Side.grpc`."""
        answer: dict[str, Any] = self.same(name, Side.grpc, *arguments, **more)
        return answer


def _plain(value: Any) -> Any:
    return value._asdict() if isinstance(value, Answer) else value
