"""`RouteConfiguration` to the route table: every supported field arrives, every check rejects."""

import pytest

from meshproxy.errors import Code
from meshproxy.http.header_map import HeaderMap
from meshproxy.router.action import DirectResponseAction, ForwardAction, RedirectAction
from meshproxy.router.grpc_timeouts import RequestTimes, StreamDuration
from tests.config.support import LISTENER, error_of, load, routes

BODY = "[{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: %s}}}]"


def table(text, above=""):
    return load(routes(text, above)).listeners[0].manager.route_config


def route(text):
    return table(f"[{text}]").virtual_hosts[0].routes[0]


def forward(fields):
    action = route(f"{{match: {{prefix: /}}, route: {{{fields}}}}}").action
    assert isinstance(action, ForwardAction)
    return action


def match(fields):
    return route(f"{{match: {{{fields}}}, route: {{cluster: app}}}}").match


def request(path="/", **headers):
    pairs = [(b":authority", b"h"), (b":path", path.encode()), (b":method", b"GET"),
             (b":scheme", b"http")]  # fmt: skip
    return HeaderMap(
        pairs + [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    )


def test_a_forward_route_has_the_defaults_of_envoy():
    action = forward("cluster: app")
    assert action.cluster == "app"
    assert action.timeout == 15.0
    assert action.idle_timeout is None
    assert action.cluster_not_found_response_code == 503
    assert action.host_rewrite is None
    assert not action.auto_host_rewrite


def test_every_field_of_a_forward_route_arrives():
    action = forward(
        "cluster: app, timeout: 0s, idle_timeout: 2s, prefix_rewrite: /x, host_rewrite_literal: h,"
        " append_x_forwarded_host: true, cluster_not_found_response_code: NOT_FOUND"
    )
    assert action.timeout == 0.0
    assert action.idle_timeout == 2.0
    assert action.prefix_rewrite == "/x"
    assert action.host_rewrite.host_rewrite_literal == "h"
    assert action.host_rewrite.append_x_forwarded_host
    assert action.cluster_not_found_response_code == 404
    assert forward("cluster: app, auto_host_rewrite: true").auto_host_rewrite
    assert forward("cluster: app, host_rewrite_header: X").host_rewrite.host_rewrite_header == "X"
    regex = "{pattern: {regex: '/(a+)'}, substitution: '\\1'}"
    assert forward(f"cluster: app, regex_rewrite: {regex}").regex_rewrite is not None
    rewrite = forward(f"cluster: app, host_rewrite_path_regex: {regex}").host_rewrite
    assert rewrite.host_rewrite_path_regex is not None
    assert forward("cluster_header: x-to").cluster_header == "x-to"


def test_weighted_clusters_arrive():
    action = forward(
        "weighted_clusters: {header_name: x-r, clusters: [{name: app, weight: 3,"
        " host_rewrite_literal: h}, {cluster_header: x-c, weight: 0}]}"
    )
    first, second = action.weighted_clusters.clusters
    assert (first.name, first.weight, first.host_rewrite_literal) == ("app", 3, "h")
    assert (second.cluster_header, second.weight) == ("x-c", 0)
    assert action.weighted_clusters.header_name == "x-r"


@pytest.mark.parametrize(
    ("fields", "path", "matches"),
    [
        ("prefix: /a", "/ab", True), ("prefix: /a", "/b", False),
        ("prefix: /A, case_sensitive: false", "/ab", True),
        ("path: /a", "/a", True), ("path: /a", "/a?x", True), ("path: /a", "/ab", False),
        ("path_separated_prefix: /a", "/a/b", True), ("path_separated_prefix: /a", "/ab", False),
        ("safe_regex: {regex: '/a+'}", "/aaa", True), ("safe_regex: {regex: '/a+'}", "/ab", False),
        ("prefix: /, query_parameters: [{name: q}]", "/?q=1", True),
        ("prefix: /, query_parameters: [{name: q}]", "/", False),
        ("prefix: /, query_parameters: [{name: q, present_match: false}]", "/", True),
        ("prefix: /, query_parameters: [{name: q, string_match: {exact: a}}]", "/?q=a", True),
        ("prefix: /, query_parameters: [{name: q, string_match: {exact: a}}]", "/?q=b", False),
        ("prefix: /, grpc: {}", "/", False),
    ],
)  # fmt: skip
def test_matches_of_paths_and_queries_arrive(fields, path, matches):
    found = table(f"[{{match: {{{fields}}}, route: {{cluster: app}}}}]").route(request(path), 0)
    assert (found is not None) is matches


@pytest.mark.parametrize(
    ("matcher", "value", "matches"),
    [
        ("string_match: {exact: a}", "a", True), ("string_match: {exact: A}", "a", False),
        ("string_match: {exact: A, ignore_case: true}", "a", True),
        ("string_match: {prefix: a}", "ab", True), ("string_match: {suffix: b}", "ab", True),
        ("string_match: {contains: b}", "abc", True), ("string_match: {contains: z}", "abc", False),
        ("string_match: {safe_regex: {regex: 'a.c'}}", "abc", True),
        ("string_match: {safe_regex: {regex: 'a'}}", "abc", False),
        ("exact_match: a", "a", True), ("prefix_match: a", "ab", True),
        ("suffix_match: b", "ab", True), ("contains_match: b", "abc", True),
        ("safe_regex_match: {regex: 'a.c'}", "abc", True),
        ("range_match: {start: 1, end: 5}", "4", True),
        ("range_match: {start: 1, end: 5}", "5", False),
        ("present_match: true", "a", True), ("present_match: false", "a", False),
        ("present_match: true", None, False), ("invert_match: true", "a", False),
        ("string_match: {exact: a}, invert_match: true", "b", True),
        ("string_match: {exact: a}, invert_match: true", None, False),
        ("string_match: {exact: a}, invert_match: true, treat_missing_header_as_empty: true",
         None, True),
    ],
)  # fmt: skip
def test_header_matchers_arrive(matcher, value, matches):
    found = table(
        f"[{{match: {{prefix: /, headers: [{{name: X-A, {matcher}}}]}}, route: {{cluster: app}}}}]"
    )
    headers = request() if value is None else request(x_a=value)
    assert (found.route(headers, 0) is not None) is matches


def test_a_fraction_comes_from_the_route_or_from_the_runtime():
    fields = "prefix: /, runtime_fraction: {default_value: {numerator: 5, denominator: MILLION}%s}"
    assert match(fields % "").runtime_fraction == (5, 1_000_000)
    text = f"[{{match: {{{fields % ', runtime_key: a.b'}}}, route: {{cluster: app}}}}]"
    layer = "layered_runtime: {layers: [{name: x, static_layer: {a: {b: %s}}}]}\n"

    def fraction(value):
        config = load(routes(text) + layer % value)
        return (
            config.listeners[0]
            .manager.route_config.virtual_hosts[0]
            .routes[0]
            .match.runtime_fraction
        )

    assert fraction("40") == (40, 100)
    assert fraction("{numerator: 7, denominator: TEN_THOUSAND}") == (7, 10_000)


def test_redirects_arrive():
    action = route(
        "{match: {prefix: /}, redirect: {https_redirect: true, host_redirect: h, port_redirect: 8,"
        " prefix_rewrite: /n, response_code: PERMANENT_REDIRECT, strip_query: true}}"
    ).action
    assert action == RedirectAction(
        https_redirect=True,
        host_redirect="h",
        port_redirect=8,
        prefix_rewrite="/n",
        response_code=308,
        strip_query=True,
    )


def test_direct_responses_arrive_with_their_bodies_read(tmp_path, monkeypatch):
    body = tmp_path / "body"
    body.write_bytes(b"from a file")
    monkeypatch.setenv("A_BODY", "from outside")
    for source, expected in (
        ("inline_string: text", b"text"),
        ("inline_bytes: AAH/", b"\x00\x01\xff"),
        (f"filename: {body}", b"from a file"),
        ("environment_variable: A_BODY", b"from outside"),
    ):
        text = f"{{match: {{prefix: /}}, direct_response: {{status: 201, body: {{{source}}}}}}}"
        assert route(text).action == DirectResponseAction(status=201, body=expected)
    plain = route("{match: {prefix: /}, direct_response: {status: 403}}").action
    assert plain == DirectResponseAction(status=403)


def test_headers_arrive_on_every_level():
    config = table(
        "[{match: {prefix: /}, name: everything, response_headers_to_remove: [X-Gone],"
        " metadata: {filter_metadata: {f: {k: 1}}},"
        " route: {weighted_clusters: {clusters: [{name: app, weight: 1,"
        " request_headers_to_add: [{header: {key: X-W, value: w}}]}]}}}]",
        above="            request_headers_to_remove: [x-inner]\n",
    )
    assert config.headers.request.to_remove == {b"x-inner"}
    found = config.virtual_hosts[0].routes[0]
    assert found.name == "everything"
    assert found.metadata == {"f": {"k": 1}}
    assert found.headers.response.to_remove == {b"x-gone"}
    weight = found.action.weighted_clusters.clusters[0]
    assert weight.headers.request.to_add[0].name == b"x-w"


@pytest.mark.parametrize(
    ("option", "action"),
    [
        ("", 0), (", append: true", 0), (", append: false", 2),
        (", append_action: ADD_IF_ABSENT", 1), (", append_action: OVERWRITE_IF_EXISTS", 3),
    ],
)  # fmt: skip
def test_append_and_append_action_mean_the_same_four_things(option, action):
    found = route(
        "{match: {prefix: /}, route: {cluster: app},"
        f" request_headers_to_add: [{{header: {{key: a, value: b}}{option}}}]}}"
    )
    assert found.headers.request.to_add[0].append_action == action


def wrong(text, above=""):
    return error_of(routes(text, above))


def test_a_route_to_an_unknown_cluster_is_told_the_nearest_one():
    error = wrong("[{match: {prefix: /}, route: {cluster: appp}}]")
    assert error.code is Code.UNKNOWN_REFERENCE
    assert error.message == "unknown cluster 'appp'"
    assert error.suggestion == "app"
    assert error.expected == "one of app"
    assert (error.place.line, error.place.column) == (17, 62)


def test_an_unknown_weighted_cluster_is_found():
    error = wrong(
        "[{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: x, weight: 1}]}}}]"
    )
    assert error.path.endswith("weighted_clusters.clusters[0].name")


def test_clusters_are_not_checked_where_that_is_switched_off():
    text = "[{match: {prefix: /}, route: {cluster: later}}]"
    assert table(text, above="            validate_clusters: false\n") is not None


@pytest.mark.parametrize(
    ("regex", "column", "words"),
    [("/a(", 2, "missing )"), ("/[a", 1, "missing ]"), ("/a{9999}", 2, "invalid repetition")],
)
def test_a_bad_regex_is_marked_at_its_character(regex, column, words):
    text = f'[{{match: {{safe_regex: {{regex: "{regex}"}}}}, route: {{cluster: app}}}}]'
    error = wrong(text)
    assert error.code is Code.BAD_REGEX
    assert words in error.message
    start = routes(text).splitlines()[16].index(regex)
    assert (error.place.line, error.place.column) == (17, start + column + 1)
    assert f"at character {column + 1} of the pattern" in error.message


def test_a_bad_regex_through_escapes_is_marked_at_its_beginning():
    text = routes('[{match: {safe_regex: {regex: "\\x2fa("}}, route: {cluster: app}}]')
    error = error_of(text)
    assert error.code is Code.BAD_REGEX
    assert error.place.column == text.splitlines()[16].index('"') + 1


def test_a_bad_operator_in_a_header_is_marked_at_its_character():
    text = (
        "[{match: {prefix: /}, route: {cluster: app},"
        " request_headers_to_add: [{header: {key: a, value: 'b-%NOPE%'}}]}]"
    )
    error = wrong(text)
    assert error.code is Code.BAD_FORMAT
    assert error.place.line == 17
    start = routes(text).splitlines()[16].index("b-%NOPE%")
    assert error.place.column >= start + 1


@pytest.mark.parametrize(
    ("text", "words", "part"),
    [
        ("[{match: {prefix: /}, route: {cluster: app},"
         " request_headers_to_add: [{header: {key: Host}}]}]",
         ":-prefixed or host headers may not be modified: 'Host'", "header.key"),
        ("[{match: {prefix: /}, route: {cluster: app}, response_headers_to_remove: [a, ':path']}]",
         ":-prefixed or host headers may not be removed: ':path'", "response_headers_to_remove[1]"),
        ("[{match: {prefix: /}, route: {cluster: app}, request_headers_to_add: [{header: {key: a},"
         " append: true, append_action: ADD_IF_ABSENT}]}]",
         "'append' and 'append_action' cannot both be set", "append"),
        ("[{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: app, weight: 0}]}}}]",
         "the weights add up to 0", "clusters"),
        ("[{match: {prefix: /}, route: {weighted_clusters: {clusters:"
         " [{name: app, weight: 4294967295}, {name: app, weight: 1}]}}}]",
         "the weights add up to 4294967296", "clusters"),
        ("[{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: app}]}}}]",
         "'weight' is required", "weight"),
        ("[{match: {prefix: /}, route: {weighted_clusters: {clusters: [{weight: 1}]}}}]",
         "exactly one of 'name' and 'cluster_header'", "clusters[0]"),
        ("[{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: app,"
         " cluster_header: a, weight: 1}]}}}]",
         "exactly one of 'name' and 'cluster_header'", "clusters[0]"),
        ("[{match: {prefix: /}, route: {cluster: app, prefix_rewrite: /, regex_rewrite:"
         " {pattern: {regex: a}, substitution: b}}}]", "cannot both be set", "regex_rewrite"),
        ("[{match: {prefix: /}, route: {cluster: app, regex_rewrite:"
         " {pattern: {regex: a}, substitution: '\\2'}}}]", "\\2", "substitution"),
        (BODY % ("x" * 4097),
         "the body has 4097 bytes", "body"),
        ("[{match: {prefix: /}, direct_response: {status: 200, body: {filename: /nonexistent}}}]",
         "cannot be read: No such file", "filename"),
        ("[{match: {prefix: /}, direct_response: {status: 200,"
         " body: {environment_variable: NO_X}}}]",
         "'NO_X' is not set", "environment_variable"),
    ],
)  # fmt: skip
def test_what_envoy_refuses_beyond_its_rules_is_refused_with_its_place(text, words, part):
    error = wrong(text)
    assert words in error.message
    assert error.path.endswith(part)
    assert error.place.line == 17


def test_the_limit_of_direct_responses_can_be_raised():
    text = BODY % ("x" * 5000)
    above = "            max_direct_response_body_size_bytes: 5000\n"
    assert table(text, above).virtual_hosts[0].routes[0].action.body == b"x" * 5000


@pytest.mark.parametrize("domains", ["[a, b, A]", "['*', '*']", "['*.a', '*.A']"])
def test_a_domain_given_twice_is_refused_with_the_first_line(domains):
    error = error_of(LISTENER.replace('["*"]', domains))
    assert error.code is Code.DUPLICATE_NAME
    assert "first given in line 16" in error.message


def test_a_domain_of_two_virtual_hosts_is_refused():
    document = LISTENER.replace(
        "            - name: v\n",
        "            - {name: w, domains: [x, '*']}\n            - name: v\n",
    )
    error = error_of(document)
    assert error.message == "duplicate domain '*', first given in line 15"
    assert error.path.endswith("virtual_hosts[1].domains[0]")


def test_what_a_route_says_of_grpcs_time_arrives():
    times = forward("cluster: app, max_grpc_timeout: 3s, grpc_timeout_offset: 0.5s").times
    assert times == RequestTimes(max_grpc_timeout=3.0, grpc_timeout_offset=0.5)
    assert forward("cluster: app").times is None


def test_the_life_of_a_routes_streams_arrives():
    given = "max_stream_duration: 9s, grpc_timeout_header_max: 0s, grpc_timeout_header_offset: 1s"
    times = forward(f"cluster: app, max_stream_duration: {{{given}}}").times
    duration = StreamDuration(duration=9.0, grpc_header_max=0.0, grpc_header_offset=1.0)
    assert times == RequestTimes(stream=duration)
