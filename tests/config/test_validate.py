"""The rules of Envoy's protos: every kind of rule rejects, at the right place."""

import importlib

import pytest

from meshproxy.config import rules, type_names
from meshproxy.errors import Code
from tests.config.support import LISTENER, cluster_with, messages, routes


def wrong(document):
    _, found = messages(document)
    assert len(found) == 1, "\n".join(map(str, found)) or "nothing is wrong"
    return found[0]


# A field that breaks a rule, and what is said of it. All of them are refused by Envoy 1.40.
@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("connect_timeout: 0s", "must be > 0s"),  # duration.gt
        ("dns_refresh_rate: 0.0001s", "must be > 0.001s"),
        ("dns_failure_refresh_rate: {base_interval: 0s}", "must be > 0.001s"),
        ("dns_failure_refresh_rate: {}", "'base_interval' is required"),  # duration.required
        ("lb_policy: 77", "must be one of the values of LbPolicy"),  # enum.defined_only
        ("name: ''", "must not be empty"),  # string.min_len
        ("least_request_lb_config: {choice_count: 1}", "must be >= 2, is 1"),  # uint32.gte
        ("common_lb_config: {healthy_panic_threshold: {value: 101}}", "must be <= 100.0"),
        ("common_lb_config: {healthy_panic_threshold: {value: -1}}", "must be >= 0.0"),
        ("common_lb_config: {healthy_panic_threshold: {value: NaN}}", "must be"),
        ("typed_dns_resolver_config: {name: x}", "'typed_config' is required"),  # any.required
        ("circuit_breakers: {thresholds: [{priority: 9}]}", "values of RoutingPriority"),
        ("metadata: {filter_metadata: {'': {}}}", "must not be empty"),  # map.keys
        ("load_assignment: {}", "'cluster_name' must not be empty"),
        ("load_assignment: {cluster_name: a, endpoints: [{priority: 129}]}", "must be <= 128"),
        ("dns_jitter: -1s", "must"),
    ],
)
def test_a_broken_rule_is_named_at_the_field(lines, words):
    document = cluster_with(lines)
    if lines.startswith(("connect_timeout", "name")):
        key = lines.partition(":")[0]
        document = document.replace("connect_timeout: 1s\n    connect_timeout", "connect_timeout")
        document = document.replace("  - name: app\n    connect_timeout: 1s\n    name", "  - name")
        assert document.count(f"{key}:") == 1
    _, found = messages(document)
    found = [e for e in found if e.code in {Code.RULE, Code.REQUIRED}]
    assert any(words in error.message for error in found), found
    assert all(error.place.line >= 3 for error in found)


@pytest.mark.parametrize(
    ("text", "code", "words", "part"),
    [
        ("[{match: {}, route: {cluster: app}}]", Code.REQUIRED, "one of 'prefix', 'path'", "match"),
        ("[{route: {cluster: app}}]", Code.REQUIRED, "'match' is required", "match"),
        ("[{match: {prefix: /}}]", Code.REQUIRED, "one of 'route', 'redirect'", "routes[0]"),
        ("[{match: {path_separated_prefix: /a/}, route: {cluster: app}}]", Code.RULE,
         "must match ^[^?#]+[^?#/]$, is '/a/'", "path_separated_prefix"),
        ("[{match: {prefix: /, safe_regex: ~}, direct_response: {status: 99}}]", Code.RULE,
         "must be >= 200, is 99", "direct_response.status"),
        ("[{match: {prefix: /}, direct_response: {status: 600}}]", Code.RULE, "must be < 600",
         "direct_response.status"),
        ('[{match: {prefix: /}, redirect: {host_redirect: "a\\nb"}}]', Code.RULE,
         "must not contain NUL, CR or LF", "host_redirect"),
        ("[{match: {prefix: /, headers: [{present_match: true}]}, route: {cluster: app}}]",
         Code.RULE, "'name' must not be empty", "headers[0]"),
        ("[{match: {prefix: /, headers: [{name: a, string_match: {}}]}, route: {cluster: app}}]",
         Code.REQUIRED, "one of 'exact', 'prefix'", "string_match"),
        ("[{match: {prefix: /, headers: [{name: a, string_match: {prefix: ''}}]},"
         " route: {cluster: app}}]", Code.RULE, "must not be empty", "string_match.prefix"),
        ("[{match: {prefix: /}, route: {weighted_clusters: {clusters: []}}}]", Code.RULE,
         "must not be empty", "clusters"),
        ("[{match: {prefix: /}, route: {cluster: app}, request_headers_to_add: [{}]}]",
         Code.REQUIRED, "'header' is required", "request_headers_to_add[0].header"),
        ('[{match: {prefix: /}, route: {cluster: app}, request_headers_to_remove: ["a", ""]}]',
         Code.RULE, "must not be empty", "request_headers_to_remove[1]"),
    ],
)  # fmt: skip
def test_rules_hold_inside_of_an_any(text, code, words, part):
    error = wrong(routes(text))
    assert error.code is code
    assert words in error.message
    assert error.path.endswith(part)
    assert error.path.startswith("static_resources.listeners[0].filter_chains[0].filters[0].typed")
    assert error.place.line == 17


def test_a_port_beyond_65535_is_refused_at_its_column():
    error = wrong(LISTENER.replace("port_value: 0", "port_value: 99902"))
    assert str(error) == (
        "test.yaml:5:56: static_resources.listeners[0].address.socket_address.port_value:"
        " must be <= 65535, is 99902"
    )


def test_empty_domains_are_refused():
    error = wrong(LISTENER.replace('["*"]', "[]"))
    assert error.message == "must not be empty"
    assert error.place.line == 16


def test_what_is_required_and_missing_points_at_the_message_that_misses_it():
    error = wrong(LISTENER.replace("          stat_prefix: ingress\n", ""))
    assert error.message == "'stat_prefix' must not be empty"
    assert error.place.line == 10


def test_a_required_field_of_a_oneof_is_only_required_when_it_is_chosen():
    assert messages(routes("[{match: {prefix: /}, route: {cluster: app}}]"))[1] == []


def test_a_negative_duration_is_refused_as_in_envoy():
    document = LISTENER.replace(
        "stat_prefix: ingress", "stat_prefix: i\n          drain_timeout: -1s"
    )
    assert "must not be negative" in wrong(document).message


def test_a_value_that_could_not_be_read_breaks_no_rule_after_that():
    _, found = messages(cluster_with("dns_refresh_rate: x\nlb_policy: {}"))
    assert [error.code for error in found] == [Code.WRONG_TYPE, Code.WRONG_TYPE]


def test_every_rule_of_every_message_of_envoy_has_a_meaning_here():
    """rules.py raises for a kind of rule that it does not know."""
    for name in sorted(type_names.all_types()):
        message_class = type_names.find_type(name)
        assert message_class is not None
        pending = [message_class.DESCRIPTOR]
        while pending:
            descriptor = pending.pop()
            rules.of_message(descriptor)
            pending.extend(descriptor.nested_types)


def test_a_rule_without_a_meaning_is_a_crash_and_not_passed_over():
    validate = importlib.import_module("validate.validate_pb2")
    unknown = validate.FieldRules(string=validate.StringRules(email=True))
    with pytest.raises(NotImplementedError, match="email"):
        rules._check_of(unknown, None)


@pytest.mark.parametrize(
    ("kind", "rule", "good", "bad"),
    [
        ("double", {"gt": 0.0}, 0.1, 0.0), ("float", {"gte": 0.0}, 0.0, -0.1),
        ("int32", {"gt": 0}, 1, 0), ("int32", {"gte": -5, "lte": 5}, 5, 6),
        ("int64", {"gt": 0}, 1, 0), ("uint64", {"gte": 1, "lte": 8}, 8, 9),
        ("uint64", {"lt": 8}, 7, 8), ("uint32", {"const": 3}, 3, 4),
        ("bool", {"const": True}, True, False),
        ("string", {"min_len": 2}, "éé", "é"), ("string", {"max_len": 2}, "éé", "ééé"),
        ("string", {"min_bytes": 2}, "é", "e"), ("string", {"max_bytes": 2}, "é", "éé"),
        ("string", {"in": ["a", "b"]}, "a", "c"), ("string", {"not_in": ["a"]}, "b", "a"),
        ("string", {"prefix": "%"}, "%a", "a%"), ("string", {"suffix": "%"}, "a%", "%a"),
        ("string", {"pattern": "^[a-z]+$"}, "ab", "ab\n"),
        ("string", {"min_len": 2, "ignore_empty": True}, "", "a"),
        ("string", {"well_known_regex": 1, "strict": False}, "a b", "a\r"),
        ("string", {"well_known_regex": 1}, ":a-b", "a b"),
        ("string", {"well_known_regex": 2}, "a b\t", "a\x01"),
        ("bytes", {"min_len": 1}, b"a", b""), ("bytes", {"max_len": 1}, b"a", b"ab"),
        ("repeated", {"min_items": 1}, [1], []), ("repeated", {"max_items": 1}, [1], [1, 2]),
        ("repeated", {"unique": True}, [1, 2], [1, 1]),
        ("map", {"min_pairs": 1}, {1: 1}, {}),
    ],
)  # fmt: skip
def test_each_kind_of_rule_takes_the_good_and_refuses_the_bad(kind, rule, good, bad):
    validate = importlib.import_module("validate.validate_pb2")
    message = validate.FieldRules()
    inner = getattr(message, kind)
    inner.SetInParent()
    for name, value in rule.items():
        if isinstance(value, list):
            getattr(inner, name).extend(value)
        else:
            setattr(inner, name, value)
    check = rules._check_of(message, None)
    assert check is not None
    assert check(good) == ""
    assert check(bad).startswith("must")
