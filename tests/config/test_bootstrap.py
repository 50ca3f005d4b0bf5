"""The whole of a configuration: files, texts, merging, what the server gets, and no crash."""

import dataclasses
import gc
from pathlib import Path

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from meshproxy.config import load_config
from meshproxy.errors import Code, ConfigErrors, ErrorKind
from meshproxy.upstream.host import Locality
from tests.config.support import CLUSTER, LISTENER, error_of, errors_of, load
from tests.support.fuzz import examples

CONF = sorted((Path(__file__).parents[2] / "conf").glob("*.yaml"))


@pytest.mark.parametrize("path", CONF, ids=lambda path: path.stem)
def test_every_configuration_that_comes_with_the_project_is_right(path):
    config = load_config(str(path))
    assert config.listeners
    assert config.warnings == ()


def test_no_configuration_at_all_is_an_error():
    with pytest.raises(ConfigErrors, match="no configuration is given"):
        load_config()


def test_an_empty_bootstrap_is_right_as_in_envoy():
    config = load("{}")
    assert config.listeners == config.clusters == ()
    assert config.admin.address is None


def test_node_and_admin_arrive():
    config = load(
        "node: {id: i, cluster: c, metadata: {a: [1]}, locality: {region: r, zone: z}}\n"
        "admin: {access_log_path: /dev/null,"
        " address: {socket_address: {address: 127.0.0.1, port_value: 99}}}\n"
    )
    assert (config.node.id, config.node.cluster) == ("i", "c")
    assert config.node.locality == Locality("r", "z")
    assert config.node.metadata == {"a": [1]}
    assert config.node.fields["metadata"] == {"a": [1.0]}
    assert b"\n\x01i" in config.node.serialized
    assert config.admin.address.text == "127.0.0.1:99"


def test_an_access_log_of_the_admin_interface_is_refused_by_name():
    error = error_of("admin: {access_log_path: /tmp/x}")
    assert error.kind is ErrorKind.UNSUPPORTED
    assert error.expected == "/dev/null"


def test_the_runtime_arrives_with_its_layers():
    config = load(
        "layered_runtime: {layers: [{name: a, static_layer: {x: {y: 1}, z: 5000000000}},"
        " {name: b, static_layer: {x: {y: true}}}]}"
    )
    assert config.runtime == {"x.y": True, "z": "5000000000"}
    assert config.runtime_layers == (
        ("a", {"x.y": "1", "z": "5000000000"}),
        ("b", {"x.y": "true"}),
    )


def test_a_runtime_layer_given_twice_is_refused():
    layers = "[{name: a, static_layer: {}}, {name: a, static_layer: {}}]"
    assert error_of(f"layered_runtime: {{layers: {layers}}}").code is Code.DUPLICATE_NAME


def test_the_bootstrap_is_kept_as_json_with_the_names_of_yaml():
    resources = load(LISTENER).bootstrap["static_resources"]
    assert resources["clusters"] == [{"name": "app", "connect_timeout": "1s"}]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["@type"].endswith("HttpConnectionManager")
    assert manager["route_config"]["virtual_hosts"][0]["domains"] == ["*"]


def test_no_message_is_left_in_what_the_server_gets():
    config = load(LISTENER)
    seen: set[int] = set()
    pending: list[object] = [getattr(config, each.name) for each in dataclasses.fields(config)]
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, type) or type(thing).__name__ in _OUTSIDE:
            continue
        seen.add(id(thing))
        assert not isinstance(thing, Message)
        pending.extend(gc.get_referents(thing))


_OUTSIDE = {"module", "function", "builtin_function_or_method", "dict", "cell", "str"}


# ---- --config-yaml over the file


def merged(tmp_path, base, over):
    path = tmp_path / "base.yaml"
    path.write_text(base)
    return load_config(str(path), over)


def test_text_over_a_file_replaces_scalars_and_adds_to_lists(tmp_path):
    over = "node: {id: new}\nstatic_resources: {clusters: [{name: more}]}"
    config = merged(tmp_path, "node: {id: old, cluster: kept}\n" + CLUSTER, over)
    assert (config.node.id, config.node.cluster) == ("new", "kept")
    assert [cluster.name for cluster in config.clusters] == ["app", "more"]


def test_a_mistake_in_the_text_over_a_file_is_placed_in_the_text(tmp_path):
    over = "static_resources:\n  clusters:\n  - name: app\n  - {name: x, connect_timeout: 0s}\n"
    with pytest.raises(ConfigErrors) as caught:
        merged(tmp_path, CLUSTER, over)
    errors = caught.value.errors
    assert [(e.place.file, e.place.line) for e in errors] == [
        ("--config-yaml", 3),
        ("--config-yaml", 4),
    ]
    assert [e.path for e in errors] == [
        "static_resources.clusters[1].name",
        "static_resources.clusters[2].connect_timeout",
    ]
    assert "first given in line 3" in errors[0].message


def test_a_mistake_in_the_file_is_placed_in_the_file(tmp_path):
    with pytest.raises(ConfigErrors) as caught:
        merged(tmp_path, CLUSTER.replace("1s", "0s"), "node: {id: a, clustr: b}")
    assert [Path(e.place.file).name for e in caught.value.errors] == ["--config-yaml", "base.yaml"]


def test_a_cluster_of_the_text_can_be_routed_to_from_the_file(tmp_path):
    base = LISTENER.replace("route: {cluster: app}", "route: {cluster: extra}")
    assert merged(tmp_path, base, "static_resources: {clusters: [{name: extra}]}") is not None


# ---- nothing crashes

VALUES = st.sampled_from(
    ["~", "''", "5", "-1", "yes", "[]", "{}", "[~]", "x", "'*'", "1s", "0s", "{a: b}", "[[x]]",
     "99999999999", "1e400", '{"@type": type.googleapis.com/google.protobuf.Empty}',
     '{"@type": type.googleapis.com/xds.type.v3.TypedStruct, type_url: a/b, value: {}}']
)  # fmt: skip
FULL = "\n".join(path.read_text() for path in CONF if path.stem in {"headers", "redirects"})


def scalars(text):
    """(start, end) of the values after `key: ` in a YAML text."""
    found = []
    at = 0
    for line in text.splitlines(keepends=True):
        if ": " in line and not line.lstrip().startswith("#"):
            start = at + line.index(": ") + 2
            found.append((start, at + len(line.rstrip("\n"))))
        at += len(line)
    return found


@examples(150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_value_in_any_place_makes_it_crash(data):
    path = data.draw(st.sampled_from(CONF))
    text = path.read_text()
    for _ in range(data.draw(st.integers(1, 3))):
        start, end = data.draw(st.sampled_from(scalars(text)))
        text = text[:start] + data.draw(VALUES) + text[end:]
    errors_of(text)
    errors_of(text, allow_unsupported=True)


@examples(60)
@given(st.data())
def test_no_missing_line_makes_it_crash(data):
    lines = data.draw(st.sampled_from(CONF)).read_text().splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 4))):
        del lines[data.draw(st.integers(0, len(lines) - 1))]
    errors_of("".join(lines))
