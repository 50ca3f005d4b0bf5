"""Access logs: the default format, JSON, operators."""

import json
import re
import time

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import PROXIES, Case, Pair
from tests.support.raw_client import TIMEOUT_S, http_request
from tests.support.upstreams import answering

ROUTES = """
- match: {prefix: /only}
  name: the-route
  route: {cluster: up}
"""
OPERATORS = (
    "PROTOCOL", "RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG",
    "CONNECTION_TERMINATION_DETAILS", "BYTES_RECEIVED", "BYTES_SENT", "ROUTE_NAME",
    "VIRTUAL_CLUSTER_NAME", "UPSTREAM_CLUSTER", "UPSTREAM_PROTOCOL",
    "UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "REQUESTED_SERVER_NAME",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "REQ(:METHOD)", "REQ(x-in)", "REQ(x-missing)",
    "REQ(x-missing?x-in)", "REQ(x-in):2", "RESP(x-out)", "RESP(x-missing)", "RESP(x-out):3",
    "RESP(content-length)", "RESP(connection)", "TRAILER(x)", "GRPC_STATUS", "HOSTNAME",
    "ENVIRONMENT(NOT_THERE)",
    "START_TIME(%Y)",
    "QUERY_PARAM(a)", "QUERY_PARAM(b)",
)  # fmt: skip
TEXT = (
    "AL|"
    + "|".join(f"{name.partition('(')[0]}=%{name}%" for name in OPERATORS)
    + "|%%|%REQ(X-IN)%\n"
)
JSON = {
    "json_format": {
        "marker": "AL|",
        "code": "%RESPONSE_CODE%",
        "mixed": "code %RESPONSE_CODE%",
        "missing": "%REQ(x-missing)%",
        "text": "%REQ(x-in)%",
        "received": "%BYTES_RECEIVED%",
        "nested": {"flags": "%RESPONSE_FLAGS%", "list": ["%PROTOCOL%", "fixed", 5, True]},
        "number": 1.5,
    }
}
OMITTING = {**JSON, "omit_empty_values": True}


def configuration(up: int, dead: int) -> str:
    hosts = virtual_host(ROUTES)
    text = {"text_format_source": {"inline_string": TEXT}}
    omitting = {**text, "omit_empty_values": True}
    return bootstrap(
        [
            listener("main", hosts, log_format=text),
            listener("omitting", hosts, log_format=omitting),
            listener("json", hosts, log_format=JSON),
            listener("json_omitting", hosts, log_format=OMITTING),
        ],
        [cluster("up", [up])],
    )


ANSWER = answering(b"HTTP/1.1 200 OK\r\nx-out: outward\r\ncontent-length: 0\r\n\r\n")
CASES = [
    case
    for where in ("main", "omitting")
    for case in (
        Case(f"{where}: proxied", http_request("/only?a=1&c", "x-in: value"), ANSWER, where),
        Case(f"{where}: nothing given", http_request("/only"), listener=where),
        Case(f"{where}: local reply", http_request("/none?b=2"), listener=where),
        Case(f"{where}: the last", http_request("/only", "connection: close"), ANSWER, where),
        Case(f"{where}: refused", http_request("/only", "x : 1"), listener=where),
        Case(f"{where}: hostile", http_request("/only", 'x-in: a"b\\c|\xe9'), listener=where),
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_text_lines_are_the_same(pair: Pair, case: Case):
    pair.check(case)


@pytest.mark.parametrize("where", ["json", "json_omitting"])
@pytest.mark.parametrize("fields", [(), ("x-in: value",), ('x-in: a"b\\c\t\xe9',)])
def test_json_lines_are_the_same(pair: Pair, where: str, fields: tuple[str, ...]):
    case = Case("json", http_request("/only", *fields), listener=where, log_lines=0)
    before = {kind: len(_json_lines(pair, kind)) for kind in PROXIES}
    pair.run(case)
    # the request and the probe after it
    lines = {kind: _new_json_lines(pair, kind, before[kind], 2) for kind in PROXIES}
    assert lines["meshproxy"] == lines["envoy"]


def _new_json_lines(pair: Pair, kind: str, before: int, expected: int) -> list[object]:
    """What is logged after `before` lines; waits until `expected` lines are written."""
    deadline = time.monotonic() + TIMEOUT_S
    while len(lines := _json_lines(pair, kind)) < before + expected:
        assert time.monotonic() < deadline, f"{kind} has logged {lines[before:]}"
        time.sleep(0.005)
    return lines[before:]


def _json_lines(pair: Pair, kind: str) -> list[object]:
    log = pair.sides[kind].proxy.log
    return [json.loads(line) for line in re.findall(r'^\{.*"AL\|".*\}$', log, re.MULTILINE)]
