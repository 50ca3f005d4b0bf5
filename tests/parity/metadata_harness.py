"""One exchange with METADATA through Envoy and meshproxy, on both sides by hand; knows no case."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from tests.conformance.harness import Plugin, Side
from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import SETTLE_S, normalise
from tests.support.http2_frames import POST, post
from tests.support.raw_http2 import RawClient, RawUpstream
from tests.support.upstreams import RecordingUpstream, RefusingPort, answering

KINDS = ("envoy", "meshproxy")
ROUTES = """
- match: {prefix: /plain}
  route: {cluster: plain}
- match: {prefix: /one}
  route: {cluster: one}
- match: {prefix: /direct}
  direct_response: {status: 201}
- match: {prefix: /}
  route: {cluster: up}
"""
ALLOWED = "http2_protocol_options: {allow_metadata: true}"
SMALL = "http2_protocol_options: {allow_metadata: true, max_metadata_size: 100}"
COUNTED = ("metadata", "downstream_cx_protocol_error", "upstream_cx_protocol_error")


def speaking_http2(options: str) -> str:
    return (
        "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3"
        ".HttpProtocolOptions: {'@type': type.googleapis.com/envoy.extensions.upstreams.http.v3"
        f".HttpProtocolOptions, explicit_http_config: {{http2_protocol_options: {options}}}}}}}"
    )


class MetadataPair:
    """Envoy and meshproxy with listeners that allow METADATA, or do not, or have the probe."""

    def __init__(self, stack: ExitStack) -> None:
        self.up = stack.enter_context(RawUpstream())
        self.one = stack.enter_context(RecordingUpstream())
        dead = stack.enter_context(RefusingPort())
        hosts = virtual_host(ROUTES)
        probe = [Plugin().filter()]
        yaml = bootstrap(
            [
                listener("main", hosts, options=ALLOWED),
                listener("small", hosts, options=SMALL),
                listener("without", hosts),
                listener("probe", hosts, options=ALLOWED, http_filters=probe),
            ],
            [
                cluster("up", [self.up.port], options=speaking_http2("{allow_metadata: true}")),
                cluster("plain", [self.up.port], options=speaking_http2("{}")),
                cluster("one", [self.one.port]),
                cluster("dead", [dead.port]),
                cluster("grpc", [1], options=speaking_http2("{}")),
            ],
        )
        self.sides = {kind: Side(kind, yaml, self.one) for kind in KINDS}
        for side in self.sides.values():
            stack.callback(side.proxy.stop)
            side.start()

    def run(self, *request: bytes, answer: bytes, at: str, to: str) -> dict[str, Any]:
        """Everything that was seen, by proxy."""
        self.up.answer = answer
        self.one.play = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        seen: dict[str, Any] = {}
        before = {kind: side.proxy.counters() for kind, side in self.sides.items()}
        for kind, side in self.sides.items():
            with RawClient(side.proxy.ports[at]) as client:
                client.send(*request)
                client.read(lambda each: each.ends or each.kind == 3)
            upstream = self.up.requests.get(timeout=10) if to == "up" else []
            lines = []
            if at == "probe":
                lines = side.wait(lambda found: any("probe delete" in each for each in found))
            seen[kind] = {
                "client": [without_noise(each) for each in client.events if each[0] != "goaway"],
                "upstream": [without_noise(each) for each in upstream],
                "lines": lines,
            }
        for kind, counters in self._moved(before).items():
            seen[kind]["counters"] = counters
        return seen

    def _moved(self, before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        deadline = time.monotonic() + SETTLE_S
        while True:
            found = {
                kind: moved(before[kind], side.proxy.counters())
                for kind, side in self.sides.items()
            }
            if found["envoy"] == found["meshproxy"] or time.monotonic() > deadline:
                return found
            time.sleep(0.02)


def moved(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if any(each in name for each in COUNTED) and value != before.get(name, 0)
    }


def without_noise(event: tuple[Any, ...]) -> tuple[Any, ...]:
    if event[0] != "headers":
        return event[:1] + event[2:] if event[0] in ("metadata", "data") else event
    return (event[0], normalise(event[2]), event[3])


def to(path: str, *fields: tuple[str, str]) -> bytes:
    changed = tuple((name, path if name == ":path" else value) for name, value in POST)
    return post(1, (*changed, *fields))
