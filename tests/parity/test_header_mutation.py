"""Headers added, replaced and removed on every level, with their %OPERATORS%."""

import pytest

from tests.parity.config import bootstrap, cluster, listener
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request
from tests.support.upstreams import answering

OPERATORS = (
    "PROTOCOL", "REQ(x-in)", "REQ(x-missing?x-in)", "REQ(x-in):3", "REQ(x-missing)", "REQ(:PATH)",
    "REQ(:METHOD)", "REQ(:AUTHORITY)", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_CLUSTER", "ROUTE_NAME", "VIRTUAL_CLUSTER_NAME", "RESPONSE_CODE", "RESPONSE_FLAGS",
    "RESPONSE_CODE_DETAILS", "UPSTREAM_PROTOCOL", "BYTES_RECEIVED", "REQUESTED_SERVER_NAME",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT", "GRPC_STATUS", "ENVIRONMENT(NOPE)",
)  # fmt: skip

ACTIONS = """
  - {header: {key: x-append, value: %(level)s}, append_action: APPEND_IF_EXISTS_OR_ADD}
  - {header: {key: x-absent, value: %(level)s}, append_action: ADD_IF_ABSENT}
  - {header: {key: x-over, value: %(level)s}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
  - {header: {key: x-exists, value: %(level)s}, append_action: OVERWRITE_IF_EXISTS}
  - {header: {key: x-default, value: %(level)s}}
  - {header: {key: X-Mixed, value: 'a%%%%b'}}
  - {header: {key: x-empty-%(level)s, value: ''}}
  - {header: {key: x-keep-%(level)s, value: '%%REQ(x-none)%%'}, keep_empty_value: true}
"""


def _level(level: str, indent: int) -> str:
    actions = ACTIONS % {"level": level}
    text = (
        f"request_headers_to_add:{actions}"
        f"request_headers_to_remove: [x-remove-{level}, x-absent-{level}]\n"
        f"response_headers_to_add:{actions}"
        f"response_headers_to_remove: [x-remove-{level}, server]\n"
    )
    return "".join(f"{' ' * indent}{line}\n" for line in text.splitlines())


def _operators(kind: str) -> str:
    lines = [
        f"    - {{header: {{key: x-{number}, value: 'a %{operator}% b'}}, "
        "append_action: OVERWRITE_IF_EXISTS_OR_ADD}\n"
        for number, operator in enumerate(OPERATORS)
    ]
    return f"    {kind}_headers_to_add:\n" + "".join(lines)


def _hosts() -> str:
    return f"""
- name: levels
  domains: ['*']
{_level("host", 2)}
  routes:
  - match: {{prefix: /weighted}}
    name: weighted route
{_level("route", 4)}
    route:
      weighted_clusters:
        clusters:
        - name: up
          weight: 1
{_level("cluster", 10)}
  - match: {{prefix: /operators}}
    name: the-route
    route: {{cluster: up}}
{_operators("request")}
{_operators("response")}
  - match: {{prefix: /direct}}
    direct_response: {{status: 200, body: {{inline_string: x}}}}
{_level("route", 4)}
  - match: {{prefix: /}}
{_level("route", 4)}
    route: {{cluster: up}}
"""


def configuration(up: int, dead: int) -> str:
    return bootstrap(
        [
            listener("main", _hosts(), route_options=_level("config", 0)),
            listener(
                "specific",
                _hosts(),
                route_options=_level("config", 0) + "most_specific_header_mutations_wins: true",
            ),
        ],
        [cluster("up", [up])],
    )


NAMES = ("x-append", "x-absent", "x-over", "x-exists", "x-default", "x-mixed")
REMOVED = tuple(f"x-remove-{level}" for level in ("config", "host", "route", "cluster"))
GIVEN = tuple(f"{name}: client" for name in (*NAMES, *REMOVED))
TWICE = tuple(f"{name}: second" for name in NAMES)
ANSWER = "".join(f"{name}: upstream\r\n" for name in (*NAMES, *REMOVED))
ANSWERED = answering(b"HTTP/1.1 200 OK\r\n" + ANSWER.encode() + b"content-length: 0\r\n\r\n")
CASES = [
    case
    for where in ("main", "specific")
    for case in (
        Case(f"{where}: none given", http_request("/x"), listener=where),
        Case(f"{where}: all given", http_request("/x", *GIVEN), ANSWERED, where),
        Case(f"{where}: given twice", http_request("/x", *GIVEN, *TWICE), ANSWERED, where),
        Case(f"{where}: weighted", http_request("/weighted", *GIVEN), ANSWERED, where),
        Case(f"{where}: direct", http_request("/direct", *GIVEN), listener=where),
        Case(f"{where}: operators", http_request("/operators", "x-in: value"), listener=where),
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_headers_arrive(pair: Pair, case: Case):
    pair.check(case)
