"""`ext_authz`: what an authorization server is asked, and what its decision does, as in Envoy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.harness import Case, Observation, Pair, normalise
from tests.parity.tls import client_context, downstream_tls, tls_certificate, tls_connect
from tests.support.authorization_server import AuthorizationServer, answer
from tests.support.certificates import make
from tests.support.eventually import eventually
from tests.support.raw_client import http_request
from tests.support.upstreams import RecordingUpstream, answering

COUNTED_S = 2.0
PACKAGE = "envoy.extensions.filters.http.ext_authz.v3."
H2 = json.dumps(
    {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3"
                ".HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    }
)
METADATA = "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:who)%"


def per_route(path: str, **fields: Any) -> str:
    message = {"@type": f"type.googleapis.com/{PACKAGE}ExtAuthzPerRoute", **fields}
    return (
        f"- match: {{path: {path}}}\n"
        "  metadata: {filter_metadata: {here: {a: 1}}}\n"
        f"  route: {{cluster: app}}\n  typed_per_filter_config: {json.dumps({'authz': message})}\n"
    )


ROUTES = virtual_host(
    per_route("/off", disabled=True)
    + per_route("/more", check_settings={"context_extensions": {"a": "route", "b": "route"}})
    + per_route("/unread", check_settings={"disable_request_body_buffering": True})
    + per_route("/little", check_settings={"with_request_body": {"max_request_bytes": 2,
                                           "allow_partial_message": True}})
    + per_route("/by-grpc", check_settings={"grpc_service": {
        "envoy_grpc": {"cluster_name": "grpc"}, "timeout": "5s"}})
    + per_route("/by-http", check_settings={"http_service": {
        "server_uri": {"uri": "http://auth.example", "cluster": "http", "timeout": "5s"}}})
    + "- match: {path: /moved}\n  route: {cluster: app, prefix_rewrite: /found}\n"
    + "- match: {prefix: /}\n  route: {cluster: app}\n"
)  # fmt: skip


def filtered(**fields: Any) -> dict[str, Any]:
    return extension("authz", PACKAGE + "ExtAuthz", transport_api_version="V3", **fields)


def by_grpc(**fields: Any) -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": "grpc"}, "timeout": "5s",
               "initial_metadata": [{"key": "x-from", "value": "%PROTOCOL%"}]}  # fmt: skip
    return filtered(grpc_service=service, **fields)


def by_http(request: Any = None, response: Any = None, **fields: Any) -> dict[str, Any]:
    service: dict[str, Any] = {
        "server_uri": {"uri": "http://auth.example", "cluster": "http", "timeout": "5s"},
        "path_prefix": "/check",
    }
    if request is not None:
        service["authorization_request"] = request
    if response is not None:
        service["authorization_response"] = response
    return filtered(http_service=service, **fields)


def names(*prefixes: str) -> dict[str, Any]:
    return {"patterns": [{"prefix": prefix} for prefix in prefixes]}


READING = {"max_request_bytes": 10}
PARTLY = {**READING, "allow_partial_message": True}
DISABLED = {"default_value": {"numerator": 0}}
FILTERS = {
    "grpc": by_grpc(stat_prefix="p", clear_route_cache=True, include_tls_session=True,
                    validate_mutations=True, route_metadata_context_namespaces=["here", "none"]),
    "reading": by_grpc(with_request_body=READING),
    "partly": by_grpc(with_request_body=PARTLY),
    "raw": by_grpc(with_request_body={**PARTLY, "pack_as_bytes": True}, encode_raw_headers=True),
    "open": by_grpc(failure_mode_allow=True, failure_mode_allow_header_add=True),
    "some": by_grpc(allowed_headers=names("x-", ":"), disallowed_headers=names("x-secret"),
                    status_on_error={"code": "BadGateway"}, charge_cluster_response_stats=False,
                    enable_dynamic_metadata_ingestion=False, max_denied_response_body_bytes=3),
    "disabled": by_grpc(filter_enabled=DISABLED),
    "denying": by_grpc(filter_enabled=DISABLED, status_on_error={"code": "ServiceUnavailable"},
                       deny_at_disable={"default_value": True, "runtime_key": "k"}),
    "http": by_http(),
    "http_all": by_http(
        {"headers_to_add": [{"key": "x-added", "value": "%REQ(x-a)%"}]},
        {"allowed_upstream_headers": names("x-a", "x-n"),
         "allowed_upstream_headers_to_append": names("y-"),
         "allowed_client_headers": names("z-"),
         "allowed_client_headers_on_success": names("z-"),
         "dynamic_metadata_from_headers": {"patterns": [{"exact": "who"}]}},
        allowed_headers=names("x-", "cookie"), with_request_body=PARTLY,
    ),
    "nowhere": filtered(
        http_service={"server_uri": {"uri": "http://x", "cluster": "dead", "timeout": "5s"}}
    ),
}  # fmt: skip


NO_BODY = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


# The first one's metadata are shown to the second one's server.
TWICE = [
    by_http(response={"dynamic_metadata_from_headers": names("who")}),
    {**by_grpc(metadata_context_namespaces=["envoy.filters.http.ext_authz", "none"],
               stat_prefix="second"), "name": "second"},
]  # fmt: skip
IDENTIFYING = by_grpc(include_peer_certificate=True, include_tls_session=True)
CLIENTS = {
    "server": ["DNS:server.example", "URI:spiffe://td/server"],
    "all": ["DNS:all.example", "URI:spiffe://td/all"], "dns": ["DNS:dns.example"], "subject": [],
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A request, and what the server says: `says` by gRPC, `plays` by HTTP."""

    case: Case
    says: Any = None
    plays: Callable[..., None] = NO_BODY


def grpc_check(name: str, says: str | bytes | None, *, to: str = "grpc",
               send: bytes = http_request("/x", "x-a: 0"), **more: Any) -> Check:  # fmt: skip
    said = answer(says) if isinstance(says, str) else says
    return Check(case=Case(name, send, APP, to, **more), says=said)


def http_check(name: str, plays: bytes, *, to: str = "http",
               send: bytes = http_request("/x", "x-a: 0"), **more: Any) -> Check:  # fmt: skip
    return Check(case=Case(name, send, APP, to, **more), plays=answering(plays))


def post(path: str, body: bytes, *fields: str) -> bytes:
    lines = "".join(f"{each}\r\n" for each in (*fields, f"content-length: {len(body)}"))
    return f"POST {path} HTTP/1.1\r\nhost: h\r\n{lines}\r\n".encode() + body


def options(action: str, place: str = "headers") -> str:
    one = '%s {header {key: "%s" value: "%s"} %s} '
    return "".join(
        one % (place, name, value, action) for name in ("x-a", "x-n") for value in ("1", "2")
    )


APP = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: app\r\n\r\nok")
CHUNKS = (b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
          b"3\r\nabc\r\n0\r\n\r\n")  # fmt: skip
GRPC_CALL = post("/x", b"", "content-type: application/grpc", "te: trailers")
UPGRADE = b"GET /x HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
DENIED = "status {code: 7} denied_response {"
ACTIONS = {
    "nothing": "", "append": "append {value: true}", "no append": "append {}",
    "add if absent": "append_action: ADD_IF_ABSENT",
    "overwrite if exists": "append_action: OVERWRITE_IF_EXISTS",
    "overwrite": "append_action: OVERWRITE_IF_EXISTS_OR_ADD", "unknown action": "append_action: 9",
}  # fmt: skip
ALLOWED = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nx-a: n\r\nx-n: 1\r\nx-n: 2\r\ny-a: n\r\ny-n: n\r\n"
    b"z-a: 1\r\nz-a: 2\r\nwho: me\r\nx-envoy-auth-headers-to-remove: rm , x-o\r\n\r\nb"
)
REFUSED = (b"HTTP/1.1 401 No\r\ncontent-length: 2\r\nx-a: n\r\nz-a: 1\r\nlocation: /l\r\n"
           b"who: me\r\nset-cookie: a\r\nset-cookie: b\r\nwww-authenticate: Basic\r\n"
           b"content-type: a/b\r\nx-envoy-auth-headers-to-remove: rm\r\n\r\nno")  # fmt: skip
FIELDS = http_request("/x?a=b", "x-a: 0", "x-a: 1", "y-a: 0", "rm: 1", "x-o: 1", "cookie: c=d",
                      "authorization: u", "x-secret: s",
                      "x-envoy-auth-partial-body: forged")  # fmt: skip

CHECKS = (
    grpc_check("allowed", ""),
    grpc_check("fields", "", send=FIELDS),
    grpc_check("fields of some", "", send=FIELDS, to="some"),
    *(grpc_check(f"headers by {name}", "ok_response {"
        + options(action) + options(action, "response_headers_to_add") + "}")
      for name, action in ACTIONS.items()),
    *(grpc_check(f"denied with headers by {name}", DENIED + options(action) + ' body: "no"}')
      for name, action in ACTIONS.items()),
    grpc_check("removed", 'ok_response {headers_to_remove: ["X-A", "host", ":path", "none"]}'),
    grpc_check("query", 'ok_response {query_parameters_to_set {key: "q" value: "1"}'
               ' query_parameters_to_remove: "b"}', send=http_request("/x?c=1&b=2&a=3&c=4&b&d")),
    grpc_check("query emptied", 'ok_response {query_parameters_to_remove: "b"}',
               send=http_request("/x?b=2")),
    grpc_check("path", 'ok_response {headers {header {key: ":path" value: "/moved"}}}'),
    grpc_check("path kept at its route", 'ok_response {headers {header {key: ":path"'
               ' value: "/moved"}}}', to="some"),
    grpc_check("host", 'ok_response {headers {header {key: "Host" value: "other"}}}'),
    grpc_check("metadata", 'dynamic_metadata {fields {key: "who" value {string_value: "me"}}}'),
    grpc_check("metadata of old", 'ok_response {dynamic_metadata {fields {key: "who" value {'
               'struct_value {fields {key: "n" value {number_value: 1.5}}}}}}}'),
    grpc_check("metadata ignored", 'dynamic_metadata {fields {key: "who" value {bool_value:'
               " true}}}", to="some"),
    grpc_check("denied", "status {code: 7}"),
    grpc_check("denied with metadata", 'status {code: 7} dynamic_metadata {fields {key: "who"'
               " value {number_value: 3}}}"),
    grpc_check("denied with a status", DENIED + 'status {code: TooManyRequests} body: "later"}'),
    grpc_check("denied at length", DENIED + 'body: "longer"}', to="some"),
    grpc_check("denied with a type", DENIED + 'body: "{}" headers {header {key: "content-type"'
               ' value: "application/json"}}}'),
    grpc_check("denied gRPC", DENIED + 'body: "no"}', send=GRPC_CALL),
    grpc_check("denied with a body still to come", "status {code: 7}",
               send=post("/x", b"x")[:-1], closes=True),
    grpc_check("an error", 'status {code: 7} error_response {body: "e" headers {header {key: "k"'
               ' value: "v"}}}'),
    grpc_check("an error with a status", "status {code: 7} error_response {status {code:"
               " ServiceUnavailable}}"),
    grpc_check("a failure", None),
    grpc_check("a failure of some", None, to="some"),
    grpc_check("a failure when open", None, to="open"),
    grpc_check("not a message", b"\x0a\xff"),
    grpc_check("a bad header", 'ok_response {headers {header {key: "a b" value: "v"}}}'),
    grpc_check("a bad value", 'ok_response {headers {header {key: "a" value: "a\\r\\nb: c"}}}'),
    grpc_check("off", "status {code: 7}", send=http_request("/off")),
    grpc_check("more", "", send=http_request("/more")),
    grpc_check("disabled", "status {code: 7}", to="disabled"),
    grpc_check("denied when disabled", "", to="denying"),
    grpc_check("reads", "", to="reading", send=post("/x", b"abc")),
    grpc_check("reads chunks", "", to="reading", send=CHUNKS),
    grpc_check("reads nothing", "", to="reading"),
    grpc_check("reads too much", "", to="reading", send=post("/x", b"0123456789ab"), closes=True),
    grpc_check("reads an upgrade", "", to="reading", send=UPGRADE),
    grpc_check("denied after reading", DENIED + 'body: "no"}', to="reading",
               send=post("/x", b"abc")),
    grpc_check("reads partly", "", to="partly", send=post("/x", b"0123456789ab")),
    grpc_check("reads all", "", to="partly", send=post("/x", b"0123456789")),
    grpc_check("reads no text", "", to="partly", send=post("/x", b"\xe9\xc3\xa9")),
    grpc_check("reads raw", "", to="raw", send=post("/x", b"\xe9\xc3\xa9", "x-a: 1", "x-a: 2")),
    grpc_check("reads little", "", to="partly", send=post("/little", b"abc")),
    grpc_check("does not read", "", to="partly", send=post("/unread", b"abc")),
    http_check("http allows", ALLOWED, send=FIELDS),
    http_check("http allows all", ALLOWED, send=FIELDS, to="http_all"),
    http_check("http reads", ALLOWED, send=post("/x", b"0123456789ab"), to="http_all"),
    http_check("http denies", REFUSED),
    http_check("http denies all", REFUSED, to="http_all"),
    http_check("http denies HEAD", REFUSED, send=http_request("/x", method="HEAD")),
    http_check("http redirects", b"HTTP/1.1 302 F\r\nlocation: /l\r\ncontent-length: 0\r\n\r\n"),
    http_check("http says 201", b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"),
    http_check("http fails", b"HTTP/1.1 500 E\r\ncontent-length: 1\r\n\r\ne"),
    http_check("http nowhere", b"", to="nowhere"),
    *(grpc_check(f"asked by gRPC at a route of {to}", says, to=to, send=http_request("/by-grpc"))
      for to in ("http", "some") for says in ("", "status {code: 7}")),
    *(http_check(f"asked by HTTP at a route of {to}", plays, to=to, send=http_request("/by-http"))
      for to in ("grpc", "http_all") for plays in (ALLOWED, REFUSED)),
    http_check("asked twice", ALLOWED, to="twice"),
)  # fmt: skip


class World:
    """Both proxies, the app, and the two servers that they ask."""

    def __init__(self, pair: Pair, grpc: AuthorizationServer, http: RecordingUpstream) -> None:
        self.pair = pair
        self.grpc = grpc
        self.http = http

    def check(self, check: Check) -> Observation:
        """Run it, and compare the questions as well."""
        self.grpc.answer, self.http.play = check.says, check.plays
        seen = self.pair.check(replace(check.case, stats=False))
        asked = [normal(*each) for each in self.grpc.take_all()]
        assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]
        told = [(each.method, each.target, normalise(each.headers), each.body)
                for each in self.http.take_all()]  # fmt: skip
        assert told[: len(told) // 2] == told[len(told) // 2 :]
        return seen


def counters(side: Any) -> dict[str, int]:
    """Those of the filter, and what the app's cluster counts by code."""
    return {
        name: value
        for name, value in side.proxy.counters().items()
        if "ext_authz" in name or name.startswith(("cluster.app.upstream_rq_", "cluster.app.int"))
    }


def normal(request: Any, metadata: dict[str, str]) -> tuple[str, dict[str, str]]:
    attributes = request.attributes
    assert attributes.request.time.seconds > 1_700_000_000
    assert attributes.request.http.id.isdigit()
    attributes.request.ClearField("time")
    attributes.request.http.ClearField("id")
    for peer in (attributes.source, attributes.destination):
        assert peer.address.socket_address.port_value > 0
        peer.address.socket_address.ClearField("port_value")
    for shown in attributes.metadata_context.filter_metadata.values():
        assert shown["ext_authz_duration"] >= 0
        shown.fields.pop("ext_authz_duration")
    http = attributes.request.http
    assert ("x-request-id" in http.headers) or http.header_map.headers or len(http.headers) < 8
    http.headers.pop("x-request-id", None)
    kept = [each for each in http.header_map.headers if each.key != "x-request-id"]
    del http.header_map.headers[:]
    http.header_map.headers.extend(kept)
    # Envoy says where it is in `x-forwarded-for`.
    metadata.pop("x-forwarded-for", None)
    return str(request), metadata


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates")
    authority = make("ca")
    authority.write(path, "ca")
    for name, sans in CLIENTS.items():
        make(name, authority, sans=sans).write(path, name)
    return path


@pytest.fixture(scope="module")
def world(certificates: Path) -> Iterator[World]:
    with (
        RecordingUpstream() as app,
        AuthorizationServer() as grpc,
        RecordingUpstream() as http,
    ):
        log = {"text_format_source": {"inline_string": (
            f"AL|%REQ(:PATH)%|%RESPONSE_CODE%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%|{METADATA}\n"
        )}}  # fmt: skip
        listeners = [
            listener(name, ROUTES, http_filters=[each], log_format=log,
                     options="upgrade_configs: [{upgrade_type: websocket}]")
            for name, each in FILTERS.items()
        ]  # fmt: skip
        listeners.append(listener("twice", ROUTES, http_filters=TWICE, log_format=log))
        secure = listener("tls", ROUTES, http_filters=[IDENTIFYING], log_format=log)
        secure["filter_chains"][0]["transport_socket"] = downstream_tls({
            "tls_certificates": [tls_certificate(certificates, "server")],
            "validation_context": {"trusted_ca": {"filename": str(certificates / "ca.crt")}},
        })  # fmt: skip
        listeners.append(secure)
        clusters = [cluster("app", [app.port]), cluster("grpc", [grpc.port], options=H2),
                    cluster("http", [http.port]), cluster("dead", [1])]  # fmt: skip
        with Pair(bootstrap(listeners, clusters), app) as pair:
            yield World(pair, grpc, http)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.case.name)
def test_the_server_is_asked_and_heeded(world: World, check: Check) -> None:
    world.check(check)


@pytest.mark.parametrize("name", ["", "all", "dns", "subject"])
def test_the_server_is_told_who_the_peers_are(world: World, certificates: Path, name: str) -> None:
    world.grpc.answer = answer("")
    context = client_context(certificates, certificate=name)
    for side in world.pair.sides.values():
        with tls_connect(side.proxy, context, name="sni.example", listener="tls") as client:
            client.sendall(http_request("/x", "connection: close"))
            while client.recv(65536):
                pass
    envoy, ours = (normal(*each) for each in world.grpc.take_all())
    assert ours == envoy
    assert ("spiffe://td/all" in envoy[0]) == (name == "all")
    assert "sni.example" in envoy[0]


def test_the_same_is_counted(world: World) -> None:
    envoy, ours = world.pair.sides["envoy"], world.pair.sides["meshproxy"]
    try:
        eventually(lambda: counters(envoy) == counters(ours), COUNTED_S)
    except AssertionError:
        assert counters(ours) == counters(envoy)
