import json
from pathlib import Path

import pytest
import wasmtime
import yaml

from meshproxy import cli
from meshproxy.resources import conf_directory, filters_directory
from tests.filters.conftest import plugin
from tests.support.conf import found, runnable
from tests.support.wat_filter import filter_text

FILE = str(filters_directory() / "header_tag.wasm")
RULES = "request set a c\nresponse set x-mesh {xds.cluster_name}"


def run(*arguments: str) -> int:
    return cli.main(["filter", "test", *arguments])


def test_the_report_tells_changes_and_log(capsys):
    arguments = ("--request", "POST http://shop/x?y", "-H", "a: b", "--body", "hi")
    assert run(FILE, "--config", RULES, *arguments, "--route", "/=web") == 0
    assert capsys.readouterr().out.splitlines() == [
        "request   POST /x?y  to web",
        "  ~  a  b → c",
        "",
        "response  200  (via_upstream)",
        "  +  x-mesh  web",
        "",
        "log",
        "  info  rules: 2",
    ]


def test_what_is_expected_and_comes_is_fine(capsys):
    assert run(
        FILE, "--config", RULES, "--response", "404", "--response-body", "gone",
        "--expect-status", "404", "--expect-header", "x-mesh: upstream", "--expect-body", "gone",
        "--expect-request-header", "a: c", "--expect-request-body", "", "--expect-log", "rules",
        "--expect-cluster", "upstream",
    ) == 0  # fmt: skip
    assert capsys.readouterr().err == ""


def test_what_is_expected_and_does_not_come_fails_one_by_one(capsys):
    assert run(
        FILE, "--body", "x", "--expect-status", "404", "--expect-header", "x-mesh: a",
        "--expect-body", "b", "--expect-request-header", ":path: /b", "--expect-request-body", "y",
        "--expect-log", "absent", "--expect-cluster", "web",
    ) == 1  # fmt: skip
    assert capsys.readouterr().err.splitlines() == [
        "failed: status: expected 404, got 200",
        "failed: answer: expected x-mesh: a, got it is not there",
        "failed: answer's body: expected 'b', got ''",
        "failed: request upstream: expected :path: /b, got '/'",
        "failed: request's body upstream: expected 'y', got 'x'",
        "failed: cluster: expected web, the request went to upstream",
        "failed: log: no line has 'absent'",
    ]


def write(path, functions: str) -> str:
    path.write_bytes(wasmtime.wat2wasm(filter_text(functions)))
    return str(path)


def test_a_trap_fails_and_is_shown(capsys, tmp_path):
    file = write(
        tmp_path / "trap.wasm",
        '(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)',
    )
    assert run(file) == 1
    shown = capsys.readouterr()
    assert "response  503" in shown.out
    assert "trap\n  wasm `unreachable` instruction executed\n  at " in shown.out
    assert shown.err.startswith("failed: the filter trapped: ")


DENYING = """
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (drop (call $proxy_log (i32.const 3) "first\\nsecond"/))
  (drop (call $proxy_send_local_response (i32.const 403) "no"/ "denied"/ ""/ (i32.const -1)))
  (i32.const 1))"""


def test_an_answer_of_the_filters_own_is_told_whole(capsys, tmp_path):
    assert run(write(tmp_path / "deny.wasm", DENYING)) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "response  403  (no)",
        "  +  content-length  6",
        "  +  content-type    text/plain",
        "  body  0 → 6 bytes",
        "    denied",
        "",
        "log",
        "  warn  first",
        "        second",
    ]


REPLACING = """
(func (export "proxy_on_request_body") (param i32 i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $proxy_set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 99) "new"/))
  (i32.const 0))
(func (export "proxy_on_response_trailers") (param i32 i32) (result i32)
  (drop (call $proxy_replace_header_map_value (i32.const 3) "t"/ "2"/))
  (i32.const 0))
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $proxy_define_metric (i32.const 0) "m"/ (i32.const 24))) (i32.const 1))"""


def test_bodies_in_pieces_trailers_and_metrics_are_told(capsys, tmp_path):
    file = write(tmp_path / "body.wasm", REPLACING)
    assert run(file, "--request", "POST /", "--chunk", "a", "--chunk", "bcd",
               "--response-trailer", "t: 1") == 0  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "request   POST /  to upstream",
        "  body  4 → 3 bytes",
        "    new",
        "",
        "response  200  (via_upstream)",
        "  ~ trailer  t  1 → 2",
        "",
        "metrics",
        "  m  0",
    ]


PAUSING = """
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"""


def test_a_request_that_is_held_back_is_told(capsys, tmp_path):
    assert run(write(tmp_path / "pause.wasm", PAUSING)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "request   GET /  held back by the filter",
        "",
        "response  none",
    ]


CALLING = """
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $proxy_grpc_call "users"/ "pkg.Users"/ "Get"/ ""/ "question"/
    (i32.const 500) (i32.const 16)))
  (drop (call $proxy_grpc_call "other"/ "pkg.Users"/ "Get"/ ""/ "question"/
    (i32.const 0) (i32.const 16)))
  (i32.const 0))"""


def test_grpc_calls_are_told(capsys, tmp_path):
    file = write(tmp_path / "grpc.wasm", CALLING)
    assert run(file, "--grpc-callout", "users=5:no such user") == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "callouts",
        "  users  gRPC /pkg.Users/Get  within 0.5 s  5",
        "  other  gRPC /pkg.Users/Get  no timeout    unanswered",
    ]


def test_json_has_what_happened(capsys):
    assert run(FILE, "--config", RULES, "-H", "a: b", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert ["a", "b"] in found["request"]["before"]["headers"]
    assert ["a", "c"] in found["request"]["upstream"]["headers"]
    assert ["x-mesh", "upstream"] in found["response"]["downstream"]["headers"]
    assert found["logs"] == [{"level": "info", "text": "rules: 2"}]
    assert (found["failures"], found["paused"], found["traps"]) == ([], "", [])


def test_a_configuration_that_the_filter_refuses_is_named(capsys):
    assert run(FILE, "--config", "query set a b") == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("error  line 1: expected request or response, got 'query set a b'")
    assert shown[-1].endswith("header_tag.wasm: proxy_on_configure returned false")


def test_a_wrong_flag_is_refused_with_the_usage(capsys):
    assert run(FILE, "--response", "x") == 1
    assert "argument --response: expected a status from 200 to 599, not 'x'" in (
        capsys.readouterr().err
    )


@pytest.fixture
def configuration(tmp_path) -> Path:
    """An Envoy configuration with two plugins and three routes."""
    document = runnable("filters.yaml", {8080: 1})
    [filters] = found(document, "http_filters")
    filters[:-1] = [
        plugin("header_tag", "request set x-tenant acme"),
        plugin("header_tag", "response set x-cluster {xds.cluster_name}"),
    ]
    [routes] = found(document, "routes")
    routes[:] = [
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 418}},
        {"match": {"prefix": "/old"}, "redirect": {"path_redirect": "/new"}},
        {"match": {"prefix": "/", "headers": [{"name": "x-tenant", "exact_match": "acme"}]},
         "route": {"cluster": "acme"}},
    ]  # fmt: skip
    document["static_resources"]["clusters"][0]["name"] = "acme"
    document["static_resources"]["clusters"][0]["load_assignment"]["cluster_name"] = "acme"
    file = tmp_path / "envoy.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def test_the_plugins_of_a_configuration_stand_in_its_chain_before_its_routes(configuration, capsys):
    file = str(configuration)
    assert run(file, "--expect-cluster", "acme", "--expect-header", "x-cluster: acme") == 0
    assert run(file, "--request", "/direct", "--expect-status", "418") == 0
    assert (
        run(file, "--request", "/old", "--expect-header", "location: http://example.com/new") == 0
    )
    assert capsys.readouterr().err == ""
    assert cli.main(["filter", "trace", file]) == 0
    assert capsys.readouterr().out.count("[host->vm] proxy_on_request_headers(") == 2


def test_flags_that_a_configuration_says_itself_are_refused(configuration, capsys):
    assert run(str(configuration), "--vm-id", "x") == 1
    assert "error: --vm-id is for a .wasm; " in capsys.readouterr().err


def test_a_configuration_that_is_wrong_is_refused_with_its_places(tmp_path, capsys):
    file = tmp_path / "envoy.yaml"
    file.write_text("static_resources: 5\nadmin: 6\n")
    assert run(str(file)) == 1
    shown = capsys.readouterr().err
    assert f"{file}:1:" in shown
    assert f"{file}:2:" in shown


def test_a_configuration_without_plugins_is_refused(capsys):
    file = str(conf_directory() / "minimal.yaml")
    assert run(file) == 1
    assert capsys.readouterr().err == f"error: {file}: no listener has a Wasm HTTP filter\n"
