"""Runs one example filter in a proxy, the real Envoy or meshproxy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import yaml

from tests.support.conf import found, runnable
from tests.support.processes import ProxyProcess
from tests.support.raw_client import Answer, RawClient, http_request
from tests.support.upstreams import RecordingUpstream, Request


@dataclass
class Running:
    """A proxy with filters and the upstream behind it."""

    proxy: ProxyProcess
    upstream: RecordingUpstream

    def get(self, path: str = "/", *headers: tuple[str, str]) -> tuple[Request, Answer]:
        """What the upstream received and what the client got for one GET that goes through."""
        answer = self.ask(path, *headers)
        return self.upstream.take(), answer

    def ask(
        self, path: str = "/", *headers: tuple[str, str], method: str = "GET", body: bytes = b""
    ) -> Answer:
        """What the client got for one request, wherever the answer was made."""
        fields = [f"{name}: {value}" for name, value in headers]
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
