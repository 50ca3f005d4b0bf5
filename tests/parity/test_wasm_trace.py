"""What happens in and around a filter: in Envoy, in meshproxy, and in the tools without a network.

The calls between host and filter, line for line, and what becomes of request and answer.
"""

import json
import re
from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True)
class Outcome:
    """The steps, the request upstream (None where it did not get there) and the answer; headers
    without those that routers and codecs add.
    """

    steps: list[str]
    upstream: tuple[list[tuple[str, str]], bytes] | None
    answer: tuple[int, list[tuple[str, str]], bytes]


ADDED = frozenset({
    "x-request-id", "x-forwarded-proto", "x-envoy-expected-rq-timeout-ms", "date", "server",
    "x-envoy-upstream-service-time", "content-length", "transfer-encoding", "host", "connection",
})  # fmt: skip


def without_added(headers: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    """What the filter and the two ends are responsible for."""
    return [(name, value) for name, value in headers if name not in ADDED and name[0] != ":"]


def in_a_proxy(kind: str, case: Traced, last: str, attempts: int = 5) -> Outcome:
    """What a proxy logs in the thread that serves, until `last`, and what it did.

    An answer that took 10 ms is not taken: with two digits of its time in a header, sizes differ.
    """
    method = "POST" if case.body else "GET"
    fields = [*case.fields, f"content-length: {len(case.body)}"] if case.body else case.fields
    request = http_request(case.path, *fields, method=method, body=case.body.encode())
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    from_upstream = f"{head}content-length: {len(case.answer)}\r\n\r\n{case.answer}".encode()
    with RecordingUpstream(answering(from_upstream)) as upstream:
        document = runnable("filters.yaml", {8080: upstream.port})
        [filters] = found(document, "http_filters")
        filters[:-1] = [plugin(case.filter, case.configuration)]
        flags = ["--component-log-level", "wasm:trace", "--log-format", "%t|%v"]
        text = yaml.safe_dump(document, sort_keys=False)
        with ProxyProcess(kind, text, arguments=flags) as proxy:
            with RawClient(proxy.ports["ingress"]) as client:
                answer = client.request(request)
            eventually(lambda: STEP.findall(proxy.log)[-1:] == [(ANY, last)])
            steps = STEP.findall(proxy.log)
        if len(answer.get("x-envoy-upstream-service-time") or "") > 1 and attempts > 1:
            return in_a_proxy(kind, case, last, attempts - 1)
        came = [(without_added(each.headers), each.body) for each in upstream.take_all()]
    # Envoy starts a VM in its main thread first, twice, and then the one that serves in a worker.
    return Outcome(
        [step for thread, step in steps if thread == steps[-1][0]],
        came[0] if came else None,
        (answer.status, without_added(answer.headers), answer.body),
    )


def without_a_network(case: Traced, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """What `meshproxy filter trace` and `filter test` print for the same request."""
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
    assert cli.main(["filter", "test", "--format", "json", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    upstream, answer = told["request"]["upstream"], told["response"]["downstream"]
    return Outcome(
        lines[: ends[0]] if ends else lines,  # the proxies go on
        upstream and (without_added(upstream["headers"]), upstream["body"].encode()),
        (int(dict(answer["headers"])[":status"]), without_added(answer["headers"]),
         answer["body"].encode()),
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.filter)
def test_the_tools_show_what_happens_in_the_proxies(case, capsys):
    ours = without_a_network(case, capsys)
    assert len(ours.steps) > 2
    assert in_a_proxy("envoy", case, ours.steps[-1]) == ours
    assert in_a_proxy("meshproxy", case, ours.steps[-1]) == ours


def test_an_answer_is_not_shown_to_the_filters_behind_the_one_that_gave_it():
    answers = {}
    for kind in ("envoy", "meshproxy"):
        document = runnable("filters.yaml", {8080: 1})
        [filters] = found(document, "http_filters")
        filters[:-1] = [
            plugin("header_tag", "response set x-before 1"),
            plugin("api_auth", "key acme acme-key-1"),
            plugin("header_tag", "response set x-behind 1"),
        ]
        text = yaml.safe_dump(document, sort_keys=False)
        with ProxyProcess(kind, text) as proxy, RawClient(proxy.ports["ingress"]) as client:
            answer = client.request(http_request("/"))
            answers[kind] = answer.status, without_added(answer.headers)
    assert answers["meshproxy"] == answers["envoy"]
    names = [name for name, _ in answers["envoy"][1]]
    assert ("x-before" in names, "x-behind" in names) == (True, False)
