"""Trees to messages: each mistake has its line, column and path, and what was expected."""

import pytest
from google.protobuf import json_format

from meshproxy.config.type_names import find_type, is_removed
from meshproxy.errors import Code, ErrorKind
from tests.config.support import CLUSTER, LISTENER, ROUTER, URL, cluster_with, error_of, messages

DOUBLE = "common_lb_config: {healthy_panic_threshold: {value: %s}}"


def cluster(lines):
    at, found = messages(cluster_with(lines))
    assert not found, found
    return at.message.static_resources.clusters[0]


def wrong(lines):
    _, found = messages(cluster_with(lines))
    assert len(found) == 1, "\n".join(map(str, found)) or "nothing is wrong"
    return found[0]


# Accepted by Envoy 1.40, with the same meaning.
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5), ("'5'", 5), ("010", 8), ("'010'", 10), ("08", 8), ("0x10", 16), ("'0X1F'", 31),
        ("1e3", 1000), ("'1e3'", 1000), ("29902.0", 29902), ("+5", 5), ("'10e-1'", 1),
        ("'.5e1'", 5),
        ("{value: 7}", 7), ("{}", 0), ("4294967295", 4294967295),
    ],
)  # fmt: skip
def test_integers_are_read_in_every_form_that_envoy_takes(text, number):
    assert (
        cluster(
            f"per_connection_buffer_limit_bytes: {text}"
        ).per_connection_buffer_limit_bytes.value
        == number
    )


@pytest.mark.parametrize(
    "text", ["1.5", "1_000", "-5", "0o10", "' 5'", "5000000000", "true", "1:30", "''", "NaN",
             "'1 '", "1e30", "1e999999999", "[5]", "'1e-1'", "{value: x}", "0x1FFFFFFFF"],
)  # fmt: skip
def test_what_is_no_integer_of_the_field_is_refused(text):
    error = wrong(f"per_connection_buffer_limit_bytes: {text}")
    assert error.kind is ErrorKind.WRONG_TYPE
    assert "per_connection_buffer_limit_bytes" in error.path
    assert "4294967295" in error.expected or "single value" in error.expected


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1.0), ("1.5", 1.5), ("'1.5'", 1.5), ("5e-1", 0.5), ("'0x10'", 16.0)]
)
def test_fractions_are_read_in_every_form_that_envoy_takes(text, number):
    assert cluster(DOUBLE % text).common_lb_config.healthy_panic_threshold.value == number


@pytest.mark.parametrize("text", [".nan", "true", "''", "x", "1_0"])
def test_what_is_no_fraction_is_refused(text):
    assert wrong(DOUBLE % text).kind is ErrorKind.WRONG_TYPE


@pytest.mark.parametrize("text", ["true", "yes", "on", "y", "TRUE", "'true'", "t", "'yes'", "'1'"])
def test_words_that_envoy_takes_for_true_are_true(text):
    assert cluster(f"respect_dns_ttl: {text}").respect_dns_ttl is True


@pytest.mark.parametrize("text", ["1", "0", "oN", "'on'", "x", "[]", "{}"])
def test_what_is_no_bool_is_refused(text):
    assert wrong(f"respect_dns_ttl: {text}").kind is ErrorKind.WRONG_TYPE


@pytest.mark.parametrize(
    ("text", "number"),
    [("LEAST_REQUEST", 1), ("least_request", 1), ("Random", 3), ("3", 3), ("'3'", 3), ("~", 0)],
)
def test_enums_are_read_by_name_in_any_case_or_by_number(text, number):
    assert cluster(f"lb_policy: {text}").lb_policy == number


@pytest.mark.parametrize("text", ["ROUND_RBIN", "1.0", "true", "''", "[]"])
def test_what_is_no_value_of_the_enum_is_refused_with_the_values(text):
    error = wrong(f"lb_policy: {text}")
    assert error.kind is ErrorKind.WRONG_TYPE
    assert "single value" in error.expected or "ROUND_ROBIN, LEAST_REQUEST" in error.expected


def test_a_misspelt_enum_value_is_told_the_nearest_one():
    assert wrong("lb_policy: LEAST_REQUESTS").suggestion == "LEAST_REQUEST"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1s", (1, 0)),
        ("0.5s", (0, 500_000_000)),
        ("'1.000000001s'", (1, 1)),
        ("{seconds: 5}", (5, 0)),
    ],
)
def test_durations_are_read_as_protobuf_json_writes_them(text, parts):
    duration = cluster(f"dns_jitter: {text}").dns_jitter
    assert (duration.seconds, duration.nanos) == parts


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("1", "1s"), ("1.5", "1.5s"), ("500ms", "0.5s"), ("5m", "300s"), ("2h", "7200s"),
        ("1S", "1s"),
        ("one", ""), ("''", ""), (".5s", ""), ("1.s", ""), ("'1s '", ""), ("true", ""),
        ("1.0000000001s", ""), ("400000000000s", ""),
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_what_was_meant(text, suggestion):
    error = wrong(f"dns_jitter: {text}")
    assert error.kind is ErrorKind.WRONG_TYPE
    assert error.expected == 'a duration in seconds, such as "1.5s"'
    assert error.suggestion == suggestion


@pytest.mark.parametrize("text", ["5", "yes", "0x10"])
def test_a_string_that_yaml_takes_for_something_else_is_refused_with_the_quoted_form(text):
    error = wrong(f"alt_stat_name: {text}")
    assert error.expected == "a string"
    assert error.suggestion == f'"{text}"'


@pytest.mark.parametrize(("text", "name"), [("1.5", "1.5"), ("'5'", "5"), ("! 5", "5"), ("~", "")])
def test_a_string_is_read_as_envoy_reads_it(text, name):
    assert cluster(f"alt_stat_name: {text}").alt_stat_name == name


def test_a_misspelt_field_is_told_the_nearest_one():
    error = wrong("conect_timeout: 1s")
    assert str(error) == (
        "test.yaml:5:5: static_resources.clusters[0]: unknown field 'conect_timeout' in Cluster"
        " (did you mean 'connect_timeout'?)"
    )
    assert error.place.excerpt == "    conect_timeout: 1s"


def test_a_misspelt_field_is_not_missed_a_second_time():
    _, found = messages(LISTENER.replace("domains:", "domians:"))
    assert [error.code for error in found] == [Code.UNKNOWN_FIELD]


def test_fields_are_read_by_their_camel_case_names_too():
    assert cluster("altStatName: x").alt_stat_name == "x"


def test_a_field_given_by_both_of_its_names_is_a_duplicate():
    error = wrong("alt_stat_name: x\naltStatName: y")
    assert error.code is Code.DUPLICATE_KEY
    assert error.place.line == 6


def test_two_fields_of_a_oneof_are_refused():
    error = wrong("round_robin_lb_config: {}\nleast_request_lb_config: {}")
    assert error.code is Code.ONEOF_TWICE
    assert error.place.line == 6
    assert "'least_request_lb_config' and 'round_robin_lb_config'" in error.message


def test_null_leaves_a_field_unset_even_in_a_oneof():
    assert (
        cluster("round_robin_lb_config: {}\nleast_request_lb_config: ~").WhichOneof("lb_config")
        == "round_robin_lb_config"
    )


def test_yaml_merge_keys_are_refused_as_in_envoy():
    assert "merge keys" in wrong("<<: {alt_stat_name: x}").message


@pytest.mark.parametrize("field", ["hosts: []", "tls_context: {}"])
def test_fields_of_the_old_api_say_what_took_their_place(field):
    error = wrong(field)
    assert error.code is Code.REMOVED
    assert "use '" in error.message


def test_a_single_value_is_taken_for_a_list_of_one():
    at, found = messages(LISTENER.replace('domains: ["*"]', 'domains: "*"'))
    assert not found
    listener = at.one("static_resources").many("listeners")[0]
    manager = listener.many("filter_chains")[0].many("filters")[0].unpack("typed_config")
    assert list(manager.message.route_config.virtual_hosts[0].domains) == ["*"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("metadata: []", "the fields of Metadata"),
        ("metadata: {filter_metadata: []}", "a mapping"),
        ("metadata: {filter_metadata: {a: 5}}", "a mapping"),
        ("load_assignment: {cluster_name: a, endpoints: [5]}", "the fields of LocalityLbEndpoints"),
        ("load_assignment: {cluster_name: a, endpoints: [~]}", "an element"),
        ("alt_stat_name: {}", "a single value"),
        ("alt_stat_name: []", "a single value"),
    ],
)
def test_the_wrong_shape_is_refused_with_the_right_one(lines, expected):
    error = wrong(lines)
    assert error.code is Code.WRONG_TYPE
    assert error.expected == expected


def test_a_struct_is_read_as_envoy_reads_it():
    lines = "metadata: {filter_metadata: {a: {b: 1.5, c: 5000000000, d: [~, yes, 3], e: {f: x}}}}"
    struct = cluster(lines).metadata.filter_metadata["a"]
    assert json_format.MessageToDict(struct) == {
        "b": "1.5", "c": "5000000000", "d": [None, True, 3.0], "e": {"f": "x"},
    }  # fmt: skip


# ---- Any


def any_error(text):
    old = f'{{"@type": {URL}{ROUTER}}}'
    assert old in LISTENER
    _, found = messages(LISTENER.replace(old, text))
    assert len(found) == 1, found
    assert "http_filters[0]" in found[0].path
    return found[0]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("{}", Code.TYPE_MISSING, "'@type' is missing"),
        ("{type: x}", Code.TYPE_MISSING, "found 'type'"),
        ("5", Code.WRONG_TYPE, "found the number 5"),
        ('{"@type": envoy.extensions.filters.http.router.v3.Router}', Code.BAD_VALUE, "type URL"),
        ('{"@type": /envoy.extensions.filters.http.router.v3.Router}', Code.BAD_VALUE, "type URL"),
        ('{"@type": 5}', Code.BAD_VALUE, "not a type URL"),
        (f'{{"@type": {URL}a.B}}', Code.TYPE_UNKNOWN, "unknown type 'a.B'"),
        (f'{{"@type": {URL}os.path}}', Code.TYPE_UNKNOWN, "unknown type"),
        (f'{{"@type": "{URL}../../x"}}', Code.TYPE_UNKNOWN, "unknown type"),
        (f'{{"@type": {URL}envoy.config.filter.http.router.v2.Router}}', Code.REMOVED, "v2 API"),
        (f'{{"@type": {URL}envoy.extensions.filters.http.router.v3.Router, dynamic: 1}}',
         Code.UNKNOWN_FIELD, "unknown field 'dynamic'"),
    ],
)  # fmt: skip
def test_an_any_that_cannot_be_read_is_refused_at_its_place(text, code, words):
    error = any_error(text)
    assert error.code is code
    assert words in error.message
    assert error.place.line == 22


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("envoy.extensions.filters.http.router.v3.Routr", ROUTER),
        ("envoy.extensions.filters.http.wasm.v3.Was", "envoy.extensions.filters.http.wasm.v3.Wasm"),
        ("envoy.config.filter.http.router.v2.Router", ROUTER),
    ],
)  # fmt: skip
def test_an_unknown_type_is_told_the_nearest_one(name, suggestion):
    assert any_error(f'{{"@type": {URL}{name}}}').suggestion == URL + suggestion


def test_a_type_url_may_have_any_host():
    _, found = messages(LISTENER.replace(f'"@type": {URL}', '"@type": example.org/'))
    assert not found


@pytest.mark.parametrize("kind", ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"])
def test_a_typed_struct_stands_for_the_message_it_names(kind):
    value = "{suppress_envoy_headers: true, x: 1}"
    error = any_error(f'{{"@type": {URL}{kind}, type_url: {URL}{ROUTER}, value: {value}}}')
    assert error.code is Code.UNKNOWN_FIELD
    assert error.path.endswith("http_filters[0].typed_config.value")


def test_a_well_known_type_in_an_any_has_its_value_in_value():
    plugin = "envoy.extensions.filters.http.wasm.v3.Wasm"
    text = (
        f'{{"@type": {URL}{plugin}, config: {{vm_config: {{code: {{local: {{filename: x}}}}}},'
        f' configuration: {{"@type": {URL}google.protobuf.StringValue, value: 5}}}}}}'
    )
    document = LISTENER.replace(
        "          - name: router\n",
        f"          - {{name: w, typed_config: {text}}}\n          - name: router\n",
    )
    _, found = messages(document)
    assert [error.expected for error in found] == ["a string"]
    assert found[0].path.endswith("typed_config.config.configuration")


def test_secrets_are_not_shown_in_errors():
    _, found = messages(
        LISTENER.replace(
            "route: {cluster: app}", "direct_response: {status: 200, body: {inline_string: 123456}}"
        )
    )
    assert len(found) == 1
    assert "123456" not in str(found[0])
    assert "123456" not in found[0].place.excerpt
    assert "[redacted]" in found[0].place.excerpt


def test_all_mistakes_are_reported_in_the_order_of_the_document():
    document = CLUSTER.replace(
        "connect_timeout: 1s", "conect_timeout: 1s\n    lb_policy: X\n    alt_stat_name: 5"
    )
    _, found = messages(document)
    assert [error.place.line for error in found] == [4, 5, 6]


def test_messages_equal_those_that_protobuf_makes_of_the_same_json():
    at, found = messages(LISTENER)
    assert not found
    bootstrap = find_type("envoy.config.bootstrap.v3.Bootstrap")()
    json_format.ParseDict(json_format.MessageToDict(at.message), bootstrap)
    assert bootstrap == at.message


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("envoy.api.v2.Cluster", True),
        ("envoy.config.filter.http.router.v2.Router", True),
        ("envoy.config.filter.network.tcp_proxy.v2.TcpProxy", True),
        ("envoy.config.cluster.v3.Cluster", False),
        ("envoy.extensions.filters.http.router.v3.Router", False),
        ("envoy.type.matcher.v3.StringMatcher", False),
    ],
)
def test_types_of_the_old_api_are_known(name, removed):
    assert is_removed(name) is removed


def test_one_mistake_is_one_error():
    assert error_of(CLUSTER.replace("1s", "one")).place.line == 4


def test_a_flood_of_mistakes_ends_after_a_thousand():
    fields = "\n".join(f"k{n}: 1" for n in range(3000))
    _, found = messages(cluster_with(fields))
    assert len(found) == 1000
    assert found[-1].message == "there are more errors than these; they are not shown"


def test_a_mistake_far_to_the_right_has_its_column_and_quotes_nothing():
    error = wrong("alt_stat_name: x" + " " * 200 + "# y\ndns_jitter: " + " " * 200 + "x")
    assert error.place.column > 200
    assert error.place.excerpt == ""
