"""THE LIST of what is supported: what is not on it is refused by name, as a kind of its own."""

import pytest

from meshproxy.config import load_config, supported_fields, type_names
from meshproxy.config.supported_fields import EXTENSIONS, FIELDS, OPAQUE, VALUES, joined
from meshproxy.errors import Code, ErrorKind
from tests.config.support import (
    CLUSTER,
    LISTENER,
    URL,
    cluster_with,
    error_of,
    errors_of,
    manager_with,
    routes,
)

BUFFER = "envoy.extensions.filters.http.buffer.v3.Buffer"
TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


@pytest.mark.parametrize(
    ("document", "field", "line"),
    [
        (cluster_with("outlier_detection: {}"), "outlier_detection", 5),
        (cluster_with("health_checks: []\nlrs_report_endpoint_metrics: [a]"),
         "lrs_report_endpoint_metrics", 6),
        (cluster_with("track_timeout_budgets: true"), "track_timeout_budgets", 5),
        (CLUSTER + "dynamic_resources: {}\n", "dynamic_resources", 5),
        (CLUSTER + "layered_runtime: {layers: [{name: a, admin_layer: {}}]}\n", "admin_layer", 5),
        (manager_with("tracing: {}"), "tracing", 12),
        (routes("[{match: {prefix: /, tls_context: {}}, route: {cluster: app}}]"),
         "tls_context", 17),
        (routes("[{match: {prefix: /}, route: {cluster: app, hedge_policy: {}}}]"),
         "hedge_policy", 17),
        (routes("[{match: {prefix: /}, route: {cluster: app}, decorator: {operation: x}}]"),
         "decorator", 17),
    ],
)  # fmt: skip
def test_a_field_that_is_valid_and_not_supported_is_refused_by_name(document, field, line):
    error = error_of(document)
    assert error.kind is ErrorKind.UNSUPPORTED
    assert error.code is Code.UNSUPPORTED_FIELD
    assert f"the field '{field}' of " in error.message
    assert error.path.endswith(field)
    assert error.place.line == line


@pytest.mark.parametrize(
    ("document", "value"),
    [
        (cluster_with("type: EDS"), "EDS"),
        (cluster_with("lb_policy: RING_HASH"), "RING_HASH"),
        (manager_with("codec_type: HTTP3"), "HTTP3"),
        (LISTENER.replace("port_value: 0", "port_value: 0, protocol: UDP"), "UDP"),
        (routes("[{match: {prefix: /}, route: {cluster: app, priority: HIGH}}]"), "HIGH"),
    ],
)
def test_a_value_that_is_valid_and_not_supported_is_refused_by_name(document, value):
    error = error_of(document)
    assert error.code is Code.UNSUPPORTED_VALUE
    assert f"the value {value} of " in error.message
    assert error.expected


def filter_document(type_name, fields=""):
    old = "          http_filters:\n"
    inside = f"{{'@type': {URL}{type_name}{fields}}}"
    return LISTENER.replace(old, f"{old}          - {{name: x, typed_config: {inside}}}\n")


def test_an_extension_known_to_envoy_and_not_supported_has_a_verdict_of_its_own():
    error = error_of(filter_document(BUFFER, ", max_request_bytes: 5"))
    assert error.code is Code.UNSUPPORTED_EXTENSION
    assert error.kind is ErrorKind.UNSUPPORTED
    assert error.message == f"the HTTP filter '{BUFFER}' is known to Envoy and not supported"
    assert error.path.endswith("http_filters[0].typed_config.@type")


def test_the_rules_of_an_extension_that_is_not_supported_hold_all_the_same():
    errors = errors_of(filter_document(BUFFER))
    assert {error.kind for error in errors} == {ErrorKind.UNSUPPORTED, ErrorKind.RULE}


def test_an_extension_in_a_place_where_it_cannot_stand_is_a_mistake():
    error = error_of(filter_document(TCP_PROXY, ", stat_prefix: x, cluster: app"))
    assert error.code is Code.EXTENSION_MISPLACED
    assert error.message == f"'{TCP_PROXY}' is not an HTTP filter"


def test_the_type_decides_which_extension_it_is_and_not_the_name():
    document = LISTENER.replace("name: router", "name: envoy.filters.http.buffer")
    assert load_config(yaml=document).listeners[0].manager.filters[0].type_name.endswith(".Router")


def test_unsupported_things_are_warnings_when_they_are_allowed():
    document = cluster_with("outlier_detection: {}\ntype: EDS")
    config = load_config(yaml=document, allow_unsupported=True)
    assert [warning.kind for warning in config.warnings] == [ErrorKind.UNSUPPORTED] * 2
    assert config.clusters[0].endpoints == ()


def test_allowing_the_unsupported_allows_no_mistakes():
    document = cluster_with("outlier_detection: {}\nconect_timeout: 1s")
    errors = errors_of(document, allow_unsupported=True)
    assert [error.code for error in errors] == [Code.UNKNOWN_FIELD]


def descriptor(place):
    """The message of a key of FIELDS: its name, or the name of a field that holds it."""
    last = place.rpartition(".")[2]
    if last.islower():
        field = descriptor(place.rpartition(".")[0]).fields_by_name[last]
        return field.message_type
    name = place
    message_class = type_names.find_type(name)
    assert message_class is not None, name
    return message_class.DESCRIPTOR


def test_every_name_on_the_list_exists():
    for name, fields in FIELDS.items():
        assert set(fields.split()) <= set(descriptor(name).fields_by_name), name
    for place, values in VALUES.items():
        message, _, field = place.rpartition(".")
        enum = descriptor(message).fields_by_name[field].enum_type
        assert set(values.split()) <= set(enum.values_by_name), place
        assert field in FIELDS[message].split()
    for place, (_, types) in EXTENSIONS.items():
        message, _, field = place.rpartition(".")
        assert field in FIELDS[message].split()
        assert set(types) <= set(FIELDS)


def test_every_message_that_a_supported_field_leads_to_is_on_the_list():
    for name, fields in FIELDS.items():
        for field_name in fields.split():
            field = descriptor(name).fields_by_name[field_name]
            inside = field.message_type
            if inside is not None and inside.GetOptions().map_entry:
                inside = inside.fields_by_name["value"].message_type
            if inside is None:
                continue
            place = f"{name}.{field_name}"
            if inside.full_name == "google.protobuf.Any":
                assert place in EXTENSIONS or place in OPAQUE, place
            elif not inside.full_name.startswith("google.protobuf."):
                assert place in FIELDS or inside.full_name in FIELDS, place


def test_every_message_on_the_list_is_led_to():
    reached = {"envoy.config.bootstrap.v3.Bootstrap"}
    reached |= {name for _, types in EXTENSIONS.values() for name in types}
    pending = list(reached)
    while pending:
        name = pending.pop()
        for field_name in FIELDS[name].split():
            inside = descriptor(name).fields_by_name[field_name].message_type
            if inside is not None and inside.GetOptions().map_entry:
                inside = inside.fields_by_name["value"].message_type
            place = f"{name}.{field_name}"
            key = place if place in FIELDS else inside.full_name if inside is not None else ""
            if key in FIELDS and key not in reached:
                reached.add(key)
                pending.append(key)
    assert reached == set(FIELDS)


def test_the_list_can_be_read_for_documentation():
    listing = supported_fields()
    assert "connect_timeout" in listing["envoy.config.cluster.v3.Cluster"]
    assert "track_timeout_budgets" not in listing["envoy.config.cluster.v3.Cluster"]


def test_what_two_parts_of_the_list_name_is_a_crash():
    with pytest.raises(ValueError, match=r"listed twice: b, c"):
        joined(({"a": "x", "b": "y", "c": ""}, {"c": "z", "b": "y"}))
