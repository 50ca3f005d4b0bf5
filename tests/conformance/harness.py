"""Runs one program of the probe through the real Envoy and through meshproxy, and compares.

Owns the two processes, what is read of their logs and what is not compared. Refuses to know cases.
"""

from __future__ import annotations

import base64
import difflib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote_to_bytes

from meshproxy.proxy_wasm.abi import V0_2_1
from meshproxy.proxy_wasm.pairs import decode
from tests.conformance.probe import build
from tests.parity.config import (
    UPSTREAM_TRAILERS,
    bootstrap,
    cluster,
    extension,
    listener,
    virtual_host,
)
from tests.parity.harness import normalise
from tests.support.processes import ProxyProcess
from tests.support.raw_client import Answer, ConnectionEndedError, RawClient
from tests.support.upstreams import Play, RecordingUpstream, answering

SETTLE_S: Final = 10.0  # only a difference waits so long
_POLL_S: Final = 0.005
_LINE: Final = re.compile(r"wasm log[^:]*: (probe.*)$", re.MULTILINE)
_WASM: Final = "envoy.extensions.filters.http.wasm.v3.Wasm"
_NETWORK_WASM: Final = "envoy.extensions.filters.network.wasm.v3.Wasm"
_STRING: Final = "type.googleapis.com/google.protobuf.StringValue"

# What cannot be the same twice, with what stands for it.
_VOLATILE: Final = (
    # An answer to a callout has it whatever the router says: its value, and its value's size.
    (re.compile(r"x-envoy-upstream-service-time%00\d+"), "x-envoy-upstream-service-time%00N"),
    (re.compile(r"%1D%00%00%00%0\d%00%00%00"), "%1D%00%00%00N"),
    # Envoy adds its response code details to the text of a gRPC status, and hands `grpc-message` on
    # as it came, percent signs and all.
    (
        re.compile(r"(proxy_get_status\(\) 0 \d+ '.*?)(\{?via_upstream\}?|reset%20reason.*)'"),
        r"\1'",
    ),
    (re.compile("%25C3%25A9%2525"), "%C3%A9%25"),
    (re.compile(r"(get_current_time_nanoseconds\(\) 0) \d+"), r"\1 TIME"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"x-request-id%00[0-9a-f-]{36}"), "x-request-id%00ID"),
    (re.compile(r"'[0-9a-f]{8}-[0-9a-f-]{27}'"), "'ID'"),
    (re.compile(r"date%00\w{3},[^%]*(%20[^%]*){4}"), "date%00DATE"),
)

HEADERS: Final = ("x-one: 1", "x-many: a", "x-many: b", "x-empty:", "user-agent: probe")
REQUEST_BODY: Final = "4\r\nbody\r\n4\r\nmore\r\n"
RESPONSE_BODY: Final = b"6\r\nanswer\r\n3\r\nend\r\n"
RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/plain\r\nx-up: 1\r\n\r\n"
    + RESPONSE_BODY + b"0\r\nx-late: 2\r\n\r\n"
)  # fmt: skip


def request(program: str, *, method: str = "POST", path: str = "/a/b?c=d", trailers: bool = True,
            fields: Sequence[str] = HEADERS, body: str = REQUEST_BODY) -> bytes:  # fmt: skip
    """A request with a program; by default with a body in two chunks, and trailers."""
    head = [f"{method} {path} HTTP/1.1", "host: shop.example", *fields]
    if program:
        head.append(f"x-probe: {program}")
    if method == "GET":
        return "\r\n".join([*head, "", ""]).encode()
    head.append("transfer-encoding: chunked")
    end = "0\r\nx-last: 1\r\n\r\n" if trailers else "0\r\n\r\n"
    return ("\r\n".join([*head, "", ""]) + body + end).encode()


@dataclass(frozen=True, slots=True)
class Plugin:
    """The probe as a plugin: its version, its programs, its profile."""

    version: int = V0_2_1
    environment: str = ""
    vm_program: str = ""
    program: str = ""
    compat: str = "envoy"
    name: str = "probe"
    root_id: str = ""
    vm_id: str = "vm"
    short_headers: bool = False
    allow_on_headers_stop_iteration: bool = False

    def filter(self) -> dict[str, Any]:
        """The HTTP filter's configuration."""
        return extension(self.name, _WASM, config=self.config())

    def network_filter(self) -> dict[str, Any]:
        """The network filter's."""
        return extension(self.name, _NETWORK_WASM, config=self.config())

    def config(self) -> dict[str, Any]:
        """The plugin's, wherever it stands."""
        code = build(self.version, short_headers=self.short_headers)
        variables = {"MESHPROXY_COMPAT": self.compat}
        if self.environment:
            variables["PROBE"] = self.environment
        vm = {
            "vm_id": self.vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"inline_bytes": base64.b64encode(code).decode()}},
            "configuration": {"@type": _STRING, "value": self.vm_program},
            "environment_variables": {"key_values": variables},
        }
        config = {
            "name": self.name,
            "root_id": self.root_id,
            "vm_config": vm,
            "configuration": {"@type": _STRING, "value": self.program},
        }
        if self.allow_on_headers_stop_iteration:
            config["allow_on_headers_stop_iteration"] = True
        return config


METADATA: Final = "{filter_metadata: {ns: {k: v, b: true, l: [1, x], s: {d: e}}}}"
ROUTES: Final = f"""
- match: {{prefix: /other}}
  name: other
  route: {{cluster: up}}
- match: {{prefix: /}}
  name: all
  metadata: {METADATA}
  route: {{cluster: up}}
"""


# Without `x-envoy-upstream-service-time`: it has as many digits as the machine is slow.
ROUTER: Final = extension(
    "envoy.filters.http.router",
    "envoy.extensions.filters.http.router.v3.Router",
    suppress_envoy_headers=True,
)


def configuration(
    plugins: Sequence[Plugin], up: int, dead: int, grpc: int = 1, *, limit: int = 0
) -> str:
    """The bootstrap of both proxies: the plugins before the router, trailers on both sides.

    `grpc` is the port of a gRPC server; by default one where nobody is.
    """
    options = "http_protocol_options: {enable_trailers: true}"
    http2 = (
        "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3"
        ".HttpProtocolOptions: {'@type': type.googleapis.com/envoy.extensions.upstreams.http.v3"
        ".HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}"
    )
    clusters = [
        cluster("up", [up], options=UPSTREAM_TRAILERS),
        cluster("dead", [dead]),
        cluster("grpc", [grpc], options=http2),
    ]
    main = listener(
        "main",
        virtual_host(ROUTES),
        options=options,
        http_filters=[plugin.filter() for plugin in plugins],
        router=ROUTER,
    )
    if limit:
        main["per_connection_buffer_limit_bytes"] = limit
    return bootstrap([main], clusters)


@dataclass(slots=True)
class Observation:
    """What was seen of one case through one proxy."""

    lines: list[str]
    answer: tuple[Any, ...]
    upstream: list[tuple[Any, ...]]


class Side:
    """One proxy under comparison."""

    def __init__(self, kind: str, yaml: str, upstream: RecordingUpstream) -> None:
        levels = ["--component-log-level", "wasm:info", "--file-flush-interval-msec", "10"]
        self.kind = kind
        self.proxy = ProxyProcess(kind, yaml, arguments=levels)
        self.upstream = upstream
        self.seen = 0

    def start(self) -> list[str]:
        """Wait until it is ready; the lines of the last start of the VM (Envoy starts several)."""
        self.proxy.wait_ready()
        lines = self.all_lines()
        self.seen = len(lines)
        starts = [at for at, line in enumerate(lines) if line.startswith("probe root_create 1 0")]
        first = starts[-1] if starts else 0
        while first and lines[first - 1].startswith("probe start "):
            first -= 1
        return [normal(line) for line in lines[first:]]

    def all_lines(self) -> list[str]:
        """Every line that the probe has logged so far."""
        return _LINE.findall(self.proxy.log)

    def run(
        self,
        data: bytes,
        response: bytes = RESPONSE,
        *,
        ends: int = 1,
        extra: tuple[str, int] = ("", 0),
        play: Play | None = None,
        patience: float = 10.0,
    ) -> Observation:
        """Send one request on a connection of its own; wait for `ends` streams to be deleted.

        `extra`: a phase that comes at a time of its own, and the number of its lines. They are
        waited for as well, and only they are kept: when they come between the others is chance.
        `play`: what the upstream does, if not to answer with `response`. `patience`: seconds to
        wait for an answer.
        """
        self.upstream.play = play or answering(response)
        with RawClient(self.proxy.ports["main"], timeout_s=patience) as client:
            client.send(data)
            try:
                answer = _normal_answer(client.read_answer())
            except (ConnectionEndedError, TimeoutError) as error:
                answer = (type(error).__name__,)
        own = f"probe {extra[0]} "

        def enough(lines: list[str]) -> bool:
            of_extra = sum(line.startswith(own) for line in lines)
            return sum(map(_is_delete, lines)) >= ends and of_extra >= extra[1]

        lines = self.wait(enough)
        if extra[0]:
            lines = [line for line in lines if line.startswith(own)]
        upstream = [
            (each.method, each.target, normalise(each.headers), each.body, each.trailers)
            for each in self.upstream.take_all()
        ]
        return Observation(renumbered(lines), answer, sorted(upstream))

    def wait(self, enough: Any) -> list[str]:
        """New lines, once there are enough of them or nothing more comes."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            lines = self.all_lines()[self.seen :]
            if enough(lines) or time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        self.seen += len(lines)
        return [normal(line) for line in lines]


def _is_delete(line: str) -> bool:
    return re.fullmatch(r"probe delete \d+", line) is not None


def _normal_answer(answer: Answer) -> tuple[Any, ...]:
    return (answer.status, answer.reason, normalise(answer.headers), answer.body, answer.trailers)


def normal(line: str) -> str:
    """A line without what cannot be the same twice."""
    line = _MAP_PROPERTY.sub(lambda found: found[1] + _sorted_map(found[2]), line)
    for pattern, instead in _VOLATILE:
        line = pattern.sub(instead, line)
    return line


_MAP_PROPERTY: Final = re.compile(r"(get_property\(\w+%00\w+ers\) 0 )'(.*)'$")


def _sorted_map(text: str) -> str:
    """A map of a property, sorted: Envoy gives it in the order of its hash table."""
    pairs = decode(unquote_to_bytes(text))
    if pairs is None:
        return text
    return str(sorted(f"{key.decode()}%00{value.decode()[:40]}" for key, value in pairs))


_CALLBACK: Final = re.compile(r"(probe \w+) (\d+)((?: \d+)*)$")


def renumbered(lines: Sequence[str]) -> list[str]:
    """Lines with context ids counted from the first stream of the case: root, a, b …"""
    names: dict[str, str] = {"1": "root"}
    found = []
    for line in lines:
        match = _CALLBACK.match(line)
        if match is not None:
            name = names.setdefault(match[2], "abcdefgh"[len(names) - 1])
            line = f"{match[1]} {name}{match[3]}"
        found.append(line)
    return found


class Both:
    """Envoy and meshproxy with the same plugins."""

    def __init__(self, yaml: str, upstream: RecordingUpstream) -> None:
        self.sides = {kind: Side(kind, yaml, upstream) for kind in ("envoy", "meshproxy")}
        self.started: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        try:
            self.started = {kind: side.start() for kind, side in self.sides.items()}
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End both processes."""
        for side in self.sides.values():
            side.proxy.stop()

    def run(
        self, data: bytes, response: bytes = RESPONSE, **options: Any
    ) -> dict[str, Observation]:
        """One observation for each proxy."""
        return {kind: side.run(data, response, **options) for kind, side in self.sides.items()}


def differing_lines(envoy: Sequence[str], meshproxy: Sequence[str]) -> list[str]:
    """What is not the same, as a diff without context."""
    names = ("Envoy", "meshproxy")
    return list(difflib.unified_diff(envoy, meshproxy, *names, lineterm="", n=0))[2:]


def different(seen: Mapping[str, Observation], *, lines_only: bool = False) -> list[str]:
    """Everything that is not the same in two observations."""
    envoy, ours = seen["envoy"], seen["meshproxy"]
    wrong = differing_lines(envoy.lines, ours.lines)
    for what in () if lines_only else ("answer", "upstream"):
        theirs, mine = getattr(envoy, what), getattr(ours, what)
        if theirs != mine:
            wrong += [f"{what}: Envoy     {theirs}", f"{what}: meshproxy {mine}"]
    return wrong
