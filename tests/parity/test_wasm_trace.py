"""The order of calls between host and filter: Envoy's trace, ours, and that of `filter trace`."""

import re
from dataclasses import dataclass
from unittest.mock import ANY

import pytest
import yaml

from meshproxy import cli
from meshproxy.resources import filters_directory
from tests.filters.conftest import plugin
from tests.support.conf import found, runnable
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RecordingUpstream, answering

STEP = re.compile(r"^(\d+)\|(\[(?:host->vm|host<-vm|vm->host|vm<-host)\] .*)$", re.MULTILINE)
ROOT_END = re.compile(r"\[host->vm\] proxy_on_(done|delete)\(1\)$")


@dataclass(frozen=True)
class Traced:
    """One request through one example filter. `fields` are the request's, `status` the answer's."""

    filter: str
    configuration: str
    path: str = "/x?y=1"
    fields: tuple[str, ...] = ()
    body: str = ""
    answer: str = "ok"


CASES = (
    Traced("header_tag", "request set x-a {request.path}\nresponse set x-b {xds.cluster_name}"),
    Traced("request_counter", "path / all\nheader x-tenant", fields=("x-tenant: acme",)),
    Traced("bench_headers", "", fields=("x-request-tag: 1",)),
    Traced("api_auth", "key acme acme-key-1", fields=("x-api-key: wrong",)),
    Traced("json_redact", "request field card\nresponse field token", body='{"card": 1, "b": [2]}',
           fields=("content-type: application/json",), answer='{"token": "t", "c": "d"}'),
    Traced("rate_limit", "requests 5"),
    Traced("ab_router", "variant A 1\nvariant B 1", fields=("cookie: ab-variant=B",)),
)  # fmt: skip


def in_a_proxy(kind: str, case: Traced, last: str) -> list[str]:
    """The steps of the thread that serves, in a proxy's log; `last` ends the request."""
    method = "POST" if case.body else "GET"
    fields = [*case.fields, f"content-length: {len(case.body)}"] if case.body else case.fields
    request = http_request(case.path, *fields, method=method, body=case.body.encode())
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    answer = f"{head}content-length: {len(case.answer)}\r\n\r\n{case.answer}".encode()
    with RecordingUpstream(answering(answer)) as upstream:
        document = runnable("filters.yaml", {8080: upstream.port})
        [filters] = found(document, "http_filters")
        filters[:-1] = [plugin(case.filter, case.configuration)]
        flags = ["--component-log-level", "wasm:trace", "--log-format", "%t|%v"]
        text = yaml.safe_dump(document, sort_keys=False)
        with ProxyProcess(kind, text, arguments=flags) as proxy:
            with RawClient(proxy.ports["ingress"]) as client:
                client.request(request)
            eventually(lambda: STEP.findall(proxy.log)[-1:] == [(ANY, last)])
            steps = STEP.findall(proxy.log)
    # Envoy starts a VM in its main thread first, twice, and then the one that serves in a worker.
    return [step for thread, step in steps if thread == steps[-1][0]]


def in_filter_trace(case: Traced, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `meshproxy filter trace` prints for the same request, up to its end."""
    arguments = [str(filters_directory() / f"{case.filter}.wasm"), "--config", case.configuration]
    arguments += ["--request", f"{'POST' if case.body else 'GET'} http://h.example{case.path}"]
    for field in case.fields:
        arguments += ["-H", field]
    arguments += ["--body", case.body, "--response-body", case.answer, "--route", "/=app",
                  "--response-header", "content-type: application/json",
                  "--response-header", f"content-length: {len(case.answer)}",
                  "--response-header", "x-envoy-upstream-service-time: 0"]  # fmt: skip
    assert cli.main(["filter", "trace", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    ends = [at for at, line in enumerate(lines) if ROOT_END.match(line)]
    return lines[: ends[0]] if ends else lines  # the proxies go on


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.filter)
def test_host_and_filter_call_each_other_in_the_same_order(case, capsys):
    ours = in_filter_trace(case, capsys)
    assert len(ours) > 2
    assert in_a_proxy("envoy", case, ours[-1]) == ours
    assert in_a_proxy("meshproxy", case, ours[-1]) == ours
