"""The same documents to the real Envoy (`--mode validate`) and to us: the same verdicts."""

import subprocess

import pytest

from tests.config.support import LISTENER, cluster_with, errors_of, manager_with, routes
from tests.support.processes import envoy_command

ACTION = "[{match: {prefix: /}, %s}]"
MATCH = "[{match: {%s}, route: {cluster: app}}]"
ENDPOINT = "{endpoint: {address: {socket_address: {address: %s, port_value: 80}}}}"


def assignment(*addresses):
    endpoints = ", ".join(ENDPOINT % address for address in addresses)
    return f"load_assignment: {{cluster_name: app, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}"


CHECK = (
    "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, %s}]"
)


def checked(check):
    return cluster_with(CHECK % check)


ACCEPTED = {
    "the least": LISTENER,
    "scalars of YAML": cluster_with("respect_dns_ttl: on\nper_connection_buffer_limit_bytes: 0x10"),
    "json in yaml": '{"static_resources": {"clusters": [{"name": "a", "connectTimeout": "1s"}]}}',
    "ignored key": (
        "!ignore x: &d 1s\nstatic_resources: {clusters: [{name: a, connect_timeout: *d}]}"
    ),
    "one for a list": LISTENER.replace('["*"]', '"*"'),
    "lower case enum": cluster_with("lb_policy: least_request"),
    "regex": routes(MATCH % "safe_regex: {google_re2: {}, regex: '/a+'}"),
    "weights": routes(ACTION % "route: {weighted_clusters: {clusters: [{name: app, weight: 2}]}}"),
    "unknown cluster unchecked": routes(
        ACTION % "route: {cluster: zz}", above="            validate_clusters: false\n"
    ),
    "direct response": routes(ACTION % "direct_response: {status: 200, body: {inline_string: a}}"),
    "no load assignment": cluster_with("type: STRICT_DNS"),
    "odd domains": LISTENER.replace('["*"]', '["a*b", "*a*", ""]'),
    "zero timeout": manager_with("stream_idle_timeout: 0s"),
    "long prefix": manager_with(
        "internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.1, prefix_len: 40}]}"
    ),
    "same hosts": cluster_with("type: STATIC\n" + assignment("1.1.1.1", "1.1.1.1")),
    "node": LISTENER + "node: {id: a, cluster: b, metadata: {a: [1, 2.5]}}\n",
    "layers": LISTENER + "layered_runtime: {layers: [{name: a, static_layer: {x: 1}}]}\n",
    "http check": checked(
        "http_health_check: {path: /, expected_statuses: [{start: 100, end: 600}]}"
    ),
    "tcp check": checked("tcp_health_check: {send: {text: 0aFF}, receive: [{binary: AAAA}]}"),
}

REFUSED = {
    "empty": "",
    "null": "~",
    "list": "[]",
    "tab": "static_resources:\n\tclusters: []\n",
    "undefined alias": "node: *x\n",
    "unknown field": cluster_with("conect_timeout: 1s"),
    "merge key": cluster_with("<<: {alt_stat_name: x}"),
    "string": cluster_with("alt_stat_name: 5"),
    "duration": cluster_with("dns_jitter: 1"),
    "range": LISTENER.replace("port_value: 0", "port_value: 99902"),
    "domains": LISTENER.replace('["*"]', "[]"),
    "oneof": routes(MATCH % "prefix: /, path: /a"),
    "oneof empty": routes(MATCH % "case_sensitive: true"),
    "regex": routes(MATCH % "safe_regex: {regex: 'a('}"),
    "unknown cluster": routes(ACTION % "route: {cluster: app2}"),
    "unknown weighted cluster": routes(
        ACTION % "route: {weighted_clusters: {clusters: [{name: zz, weight: 2}]}}"
    ),
    "weights": routes(ACTION % "route: {weighted_clusters: {clusters: [{name: app, weight: 0}]}}"),
    "no weight": routes(ACTION % "route: {weighted_clusters: {clusters: [{name: app}]}}"),
    "two rewrites": routes(
        ACTION % "route: {cluster: app, prefix_rewrite: /, regex_rewrite: {pattern: {regex: a}}}"
    ),
    "long body": routes(
        ACTION % f"direct_response: {{status: 200, body: {{inline_string: {'x' * 4097}}}}}"
    ),
    "no file": routes(ACTION % "direct_response: {status: 200, body: {filename: /nonexistent}}"),
    "no variable": routes(
        ACTION % "direct_response: {status: 200, body: {environment_variable: NOT_SET_AT_ALL}}"
    ),
    "pseudo header": routes(
        ACTION % "route: {cluster: app}, request_headers_to_add: [{header: {key: ':path'}}]"
    ),
    "two appends": routes(
        ACTION % "route: {cluster: app}, request_headers_to_add:"
        " [{header: {key: a}, append: true, append_action: ADD_IF_ABSENT}]"
    ),
    "duplicate domain": LISTENER.replace('["*"]', '["a", "A"]'),
    "duplicate cluster": "static_resources: {clusters: [{name: a}, {name: a}]}",
    "type": LISTENER.replace("router.v3.Router", "router.v3.Routr"),
    "old type": LISTENER.replace(
        "envoy.extensions.filters.http.router.v3.Router",
        "envoy.config.filter.http.router.v2.Router",
    ),
    "type missing": LISTENER.replace(
        '"@type": type.googleapis.com/envoy.extensions.filters.http', '"x": y'
    ).replace('"x": y.router.v3.Router', ""),
    "no host in type": LISTENER.replace('"@type": type.googleapis.com/', '"@type": '),
    "negative duration": manager_with("drain_timeout: -1s"),
    "name for an address": cluster_with("type: STATIC\n" + assignment("example.com")),
    "two logical hosts": cluster_with("type: LOGICAL_DNS\n" + assignment("a", "b")),
    "no logical host": cluster_with("type: LOGICAL_DNS"),
    "listener's name": LISTENER.replace("127.0.0.1", "localhost"),
    "no chains": "static_resources: {listeners: [{name: a, address: {socket_address: "
    "{address: 127.0.0.1, port_value: 0}}}]}",
    "layers": LISTENER
    + "layered_runtime: {layers: [{name: a, static_layer: {}}, {name: a, static_layer: {}}]}\n",
    "check without a kind": checked("reuse_connection: true"),
    "check without a path": checked("http_health_check: {}"),
    "check of nothing by GET": checked("http_health_check: {path: /, send: {text: '00'}}"),
    "check of no status": checked(
        "http_health_check: {path: /, expected_statuses: [{start: 200, end: 200}]}"
    ),
    "check of text": checked("tcp_health_check: {send: {text: hello}}"),
    "grpc check of HTTP/1": checked("grpc_health_check: {}"),
    "header limit": manager_with("common_http_protocol_options: {max_response_headers_kb: 5}"),
}

# Envoy accepts these, and something is silently lost each time.
STRICTER = {
    "duplicate key": cluster_with("alt_stat_name: a\nalt_stat_name: b"),
    "two names of a field": cluster_with("alt_stat_name: a\naltStatName: b"),
    "second document": LISTENER + "---\nx: y\n",
    "custom tag": cluster_with("alt_stat_name: !mine a"),
    "null in a list": LISTENER.replace('["*"]', '["*", ~]'),
    "no terminal filter": LISTENER[: LISTENER.index("          http_filters")]
    + LISTENER[LISTENER.index("  clusters") :],
    "duplicate listener": LISTENER.replace(
        "  clusters:", LISTENER[LISTENER.index("  - name: ing") : LISTENER.index("  clusters:")]
        + "  clusters:"
    ),
}  # fmt: skip


def envoy_accepts(path, document):
    path.write_text(document)
    command = [*envoy_command(), "--mode", "validate", "-l", "off", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def test_documents_get_the_verdict_that_envoy_gives(tmp_path):
    wrong = []
    path = tmp_path / "bootstrap.yaml"
    for accepted, documents in ((True, ACCEPTED), (False, REFUSED)):
        for name, document in documents.items():
            if envoy_accepts(path, document) is not accepted:
                wrong.append(f"Envoy, {name}: {not accepted}")
            errors = errors_of(document)
            if (not errors) is not accepted:
                wrong.append(f"meshproxy, {name}: {errors}")
    assert not wrong, "\n".join(wrong)


def test_documents_that_envoy_takes_with_a_loss_are_refused(tmp_path):
    path = tmp_path / "bootstrap.yaml"
    for name, document in STRICTER.items():
        assert envoy_accepts(path, document), name
        assert errors_of(document), name


@pytest.mark.parametrize("name", [name for name in REFUSED if REFUSED[name].strip()])
def test_every_refused_document_has_a_line_and_a_column(name):
    errors = errors_of(REFUSED[name])
    if REFUSED[name] in {"~", "[]"}:
        return
    assert all(error.place.line > 0 and error.place.column > 0 for error in errors), errors
