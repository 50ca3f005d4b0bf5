"""What an example filter calls, and how it is called, in Envoy and in meshproxy: their traces of it
side by side. Knows no case."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from difflib import unified_diff
from pathlib import Path
from typing import Final

import yaml

from tests.support.conf import found, runnable
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RecordingUpstream

ROOT: Final = Path(__file__).resolve().parents[2]
LEVELS: Final = ["--component-log-level", "wasm:trace"]
SETTLE_S: Final = 10.0  # only what is missing is waited for so long
_STEP: Final = re.compile(r"\[(?:host|vm)(?:->|<-)(?:host|vm)\] .*$", re.MULTILINE)
_BY_TIME: Final = ("clock_time_get", "poll_oneoff", "sched_yield")
_ADDRESS: Final = re.compile(r"\b[0-9]{5,}\b")
_MAP: Final = re.compile(r"\[vm->host\] env\.proxy_get_header_map_pairs\(.*")
_SIZE: Final = re.compile(r"(\[host->vm\] proxy_on_memory_allocate)\((\d+)\)")
_DIGITS: Final = 3  # of x-envoy-upstream-service-time, which an answer to a callout always has

JSON: Final = b'{"name": "a", "password": "secret", "list": [1, 2, {"token": "x"}]}'
REQUESTS: Final = (
    http_request("/"),
    http_request("/a?b=c", "cookie: ab=b; x=y", "x-api-key: key", "authorization: Bearer a.b.c"),
    http_request("/post", f"content-length: {len(JSON)}", "content-type: application/json",
                 method="POST", body=JSON),
)  # fmt: skip
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    % (len(JSON), JSON)
)


def steps(proxy: ProxyProcess) -> list[str]:
    """What was called so far, whatever the addresses: some depend on what is random. How often Go's
    scheduler looks at the clock is decided by the clock."""
    found_steps = (_ADDRESS.sub("@", step) for step in _STEP.findall(proxy.log))
    return [step for step in found_steps if not any(name in step for name in _BY_TIME)]


def settled(proxy: ProxyProcess, seen: int, contexts: int) -> list[str]:
    """New steps, once so many contexts were deleted."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        new = steps(proxy)[seen:]
        ends = sum(line.startswith("[host<-vm] proxy_on_delete") for line in new)
        if ends >= contexts or time.monotonic() > deadline:
            return new
        time.sleep(0.01)


def documents(name: str) -> tuple[dict[str, object], list[int]]:
    """The filter's own configuration, and the ports of its upstreams in it."""
    path = ROOT / "filters" / name / "envoy.yaml"
    document = yaml.safe_load(path.read_text())
    endpoints = found(document, "endpoint")
    return document, [each["address"]["socket_address"]["port_value"] for each in endpoints]


def traces(name: str, wasm: Path | None = None) -> dict[str, list[list[str]]]:
    """For each proxy: the steps of its start, and of each request.

    `wasm`: the module where it is not one of the installed ones.
    """
    _, ports = documents(name)
    found_steps: dict[str, list[list[str]]] = {}
    with ExitStack() as stack:
        for kind in ("envoy", "meshproxy"):
            upstreams = {port: stack.enter_context(RecordingUpstream()) for port in set(ports)}
            for upstream in upstreams.values():
                upstream.play = lambda peer, _request: peer.send(ANSWER)
            document = runnable(
                ROOT / "filters" / name / "envoy.yaml",
                {port: one.port for port, one in upstreams.items()},
            )
            if wasm is not None:
                for local in found(document, "local"):
                    local["filename"] = str(wasm)
            text = yaml.safe_dump(document, sort_keys=False)
            proxy = stack.enter_context(ProxyProcess(kind, text, arguments=LEVELS))
            start = steps(proxy)
            every = [last_start(start)]
            seen = len(start)
            for data in REQUESTS:
                with RawClient(proxy.ports["ingress"]) as client:
                    client.request(data)
                new = settled(proxy, seen, 1)
                seen += len(new)
                every.append(new)
            found_steps[kind] = every
    return found_steps


def last_start(lines: list[str]) -> list[str]:
    """The steps of the VM that serves; Envoy starts three, one after the other."""
    first = lines[0] if lines else ""
    starts = [at for at, line in enumerate(lines) if line == first]
    return lines[starts[-1] :] if starts else lines


def same_sizes(envoy: list[str], ours: list[str]) -> list[str]:
    """Our steps, with Envoy's size of a map of headers where a time in it has another length."""
    found_steps = list(ours)
    for at, (theirs, mine) in enumerate(zip(envoy, ours, strict=False)):
        sizes = [_SIZE.fullmatch(step) for step in (theirs, mine)]
        if at and _MAP.fullmatch(ours[at - 1]) and all(sizes):
            one, other = (int(size[2]) for size in sizes if size)
            if abs(one - other) <= _DIGITS:
                found_steps[at] = theirs
    return found_steps


def assert_same_calls(name: str, wasm: Path | None = None) -> None:
    """Whether both call this filter, and answer it, in the same order, argument by argument."""
    seen = traces(name, wasm)
    for envoy, ours in zip(seen["envoy"], seen["meshproxy"], strict=True):
        ours = same_sizes(envoy, ours)
        assert ours == envoy, "\n".join(
            unified_diff(envoy, ours, "envoy", "meshproxy", lineterm="")
        )
    assert sum(map(len, seen["envoy"])) > 40
