"""Runs an example filter: in a proxy, the real Envoy or meshproxy, or alone with a clock that is
set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import yaml

from meshproxy.resources import filters_directory
from tests.support.conf import FILTERS, found, runnable
from tests.support.processes import ProxyProcess
from tests.support.raw_client import Answer, RawClient, http_request
from tests.support.upstreams import RecordingUpstream, Request, answer_ok

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.plugin import Plugin
    from tests.support.wat_filter import World


@dataclass
class Running:
    """A proxy with filters and the upstream behind it; `upstreams` has all, by the port that the
    example gives them."""

    proxy: ProxyProcess
    upstream: RecordingUpstream
    upstreams: Mapping[int, RecordingUpstream] = field(default_factory=dict)

    def get(self, path: str = "/", *headers: tuple[str, str]) -> tuple[Request, Answer]:
        """What the upstream received and what the client got for one GET that goes through."""
        answer = self.ask(path, *headers)
        return self.upstream.take(), answer

    def ask(
        self, path: str = "/", *headers: tuple[str, str], method: str = "GET", body: bytes = b""
    ) -> Answer:
        """What the client got for one request, wherever the answer was made."""
        fields = [f"{name}: {value}" for name, value in headers]
        if body:
            fields.append(f"content-length: {len(body)}")
        with RawClient(self.proxy.ports["ingress"]) as client:
            return client.request(http_request(path, *fields, method=method, body=body))


def plugin(name: str, configuration: str | None) -> dict[str, object]:
    """One HTTP filter of the chain; `vm_id` is the same for all, so equal modules share a VM."""
    [entry] = [
        one
        for filters in found(runnable("filters.yaml", {8080: 0}), "http_filters")
        for one in filters
        if one["name"] == "header_tag"
    ]
    config = entry["typed_config"]["config"]
    config["name"] = entry["name"] = name
    config["vm_config"]["vm_id"] = ""
    local = config["vm_config"]["code"]["local"]
    local["filename"] = local["filename"].replace("header_tag", name)
    config["configuration"]["value"] = configuration
    if configuration is None:
        del config["configuration"]
    return entry


@pytest.fixture(params=["envoy", "meshproxy"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Running]]:
    """Start a proxy with these (filter, configuration) pairs as its chain."""
    with ExitStack() as stack:

        def start(*chain: tuple[str, str | None]) -> Running:
            upstream = stack.enter_context(RecordingUpstream())
            document = runnable("filters.yaml", {8080: upstream.port})
            [filters] = found(document, "http_filters")
            filters[:-1] = [plugin(*one) for one in chain]
            text = yaml.safe_dump(document, sort_keys=False)
            proxy = stack.enter_context(ProxyProcess(request.param, text, log_level="info"))
            return Running(proxy, upstream)

        yield start


@pytest.fixture(scope="module", params=["envoy", "meshproxy"])
def example(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A proxy with the configuration of the module's `FILTER`, `filters/FILTER/envoy.yaml`.

    Where the module's filter is not one of the installed ones, its fixture `wasm` builds it.
    """
    path = FILTERS / request.module.FILTER / "envoy.yaml"
    with ExitStack() as stack:
        upstreams = {
            endpoint["address"]["socket_address"]["port_value"]: RecordingUpstream()
            for endpoint in found(yaml.safe_load(path.read_text()), "endpoint")
        }
        for upstream in upstreams.values():
            stack.enter_context(upstream)
        document = runnable(path, {port: one.port for port, one in upstreams.items()})
        if hasattr(request.module, "wasm"):
            for local in found(document, "local"):
                local["filename"] = str(request.getfixturevalue("wasm"))
        text = yaml.safe_dump(document, sort_keys=False)
        proxy = stack.enter_context(ProxyProcess(request.param, text))
        yield Running(proxy, upstreams[min(upstreams)], upstreams)


@pytest.fixture
def running(example: Running) -> Running:
    """The example with upstreams as they were at the start."""
    for upstream in example.upstreams.values():
        upstream.take_all()
        upstream.play = answer_ok
    return example


@pytest.fixture
def configure(request: pytest.FixtureRequest) -> Callable[[str], Plugin]:
    """Start the module's `FILTER` alone; its world (clock, shared data) is the fixture `world`."""
    world = request.getfixturevalue("world")
    name = request.module.FILTER
    installed = filters_directory() / f"{name}.wasm"
    built = request.getfixturevalue("wasm") if hasattr(request.module, "wasm") else installed
    code = built.read_bytes()

    def start(configuration: str) -> Plugin:
        # AssemblyScript's SDK finds a filter by its root id; others do not look at it.
        return world.plugin(code, root_id=name, configuration=configuration.encode())

    return start


@pytest.fixture
def world() -> World:
    """The services of a filter that runs alone."""
    # Not above: pytest reads this file before it turns on its faulthandler, which would then take
    # the signal that a trap is from an engine made so early.
    from tests.support.wat_filter import World

    return World()
