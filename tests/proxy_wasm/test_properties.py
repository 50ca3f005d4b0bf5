import struct
from types import SimpleNamespace

import pytest
from envoy.config.core.v3.base_pb2 import Locality, Metadata

from meshproxy.http.header_map import HeaderMap
from meshproxy.network.address import Address
from meshproxy.proxy_wasm.pairs import decode, encode
from meshproxy.proxy_wasm.properties import CACHE_SIZE, _compiled, getter
from meshproxy.proxy_wasm.property_values import encode_value, metadata_message, walk
from meshproxy.proxy_wasm.services import Node
from tests.support.wat_filter import Request, World, filter_text

NS = 10**9


def metadata(namespace: str, **fields) -> bytes:
    """A serialized `Metadata` message."""
    message = Metadata()
    message.filter_metadata[namespace].update(fields)
    return message.SerializeToString(deterministic=True)


def integer(value: int) -> bytes:
    return struct.pack("<q", value)


def make_request(**settings) -> Request:
    """A stream about which everything is known."""
    world = World()
    world.services.node = Node(b"proto", {"id": "n1", "metadata": {"zone": {"a": [1, "two"]}}})
    plugin = world.plugin(filter_text(""), name="tag", root_id="r", vm_id="v", **settings)
    request = Request(plugin)
    request.headers(False)
    info = request.callbacks.info
    info.request_headers = HeaderMap(
        [*request.request.pairs, (b"referer", b"http://r"), (b"x-request-id", b"id-1")]
    )
    info.response_headers = request.response
    info.start_time, info.start, info.response_end = 5.0, 100.0, 100.25
    info.upstream_wait_start, info.upstream_request_start = 99.875, 100.0
    info.upstream_request_end, info.upstream_response_start = 100.1, 100.2
    info.bytes_received, info.bytes_sent = 11, 5
    info.response_code_details, info.response_flags = "via_upstream", 4
    info.downstream_remote_address = Address("10.0.0.9", 4711)
    info.connection = SimpleNamespace(
        id=7, local_address=Address("10.0.0.1", 80), remote_address=Address("1.2.3.4", 5),
        tls=None, requested_server_name=None, filter_state=None,
    )  # fmt: skip
    info.upstream_host = SimpleNamespace(address=Address("::1", 8080))
    info.upstream_local_address = Address("10.0.0.1", 555)
    info.attempt_count = 2
    info.cluster = SimpleNamespace(name="shop")
    info.route = SimpleNamespace(
        name="r1", virtual_host=SimpleNamespace(name="vh"), metadata={"k": {"x": "y"}}
    )
    info.set_dynamic_metadata("envoy.lb", "canary", True)
    info.set_filter_state("my.key", b"state")
    return request


def read(request: Request, path: str) -> bytes | int:
    return request.context.get_property(path.encode())


def dotted(path: str) -> str:
    return path.replace(".", "\0")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("request.path", b"/cart?item=7"),
        ("request.url_path", b"/cart"),
        ("request.query", b"item=7"),
        ("request.host", b"shop.example"),
        ("request.scheme", b"http"),
        ("request.method", b"POST"),
        ("request.referer", b"http://r"),
        ("request.useragent", b"curl/8.0"),
        ("request.id", b"id-1"),
        ("request.protocol", b"HTTP/1.1"),
        ("request.headers.x-many", b"one,two"),
        ("request.headers.X-Many", b"one,two"),
        ("request.headers.host", b"shop.example"),
        ("request.headers.nope", 1),
        ("request.trailers", 1),
        ("request.time", integer(5 * NS)),
        ("request.duration", integer(NS // 4)),
        ("request.size", integer(11)),
        ("request", 3),
        ("request.nope", 1),
        ("request.path.more", 1),
        ("response.code", integer(200)),
        ("response.code_details", b"via_upstream"),
        ("response.flags", integer(4)),
        ("response.headers.content-type", b"text/plain"),
        ("response.size", integer(5)),
        ("response.backend_latency", integer(NS // 10)),
        ("response.grpc_status", (2).to_bytes(8, "little")),
        ("response", 3),
        ("source.address", b"10.0.0.9:4711"),
        ("source.port", integer(4711)),
        ("destination.address", b"10.0.0.1:80"),
        ("destination.port", integer(80)),
        ("connection.id", integer(7)),
        ("connection.mtls", b"\0"),
        ("connection.tls_version", 1),
        ("connection.requested_server_name", b""),
        ("upstream.address", b"[::1]:8080"),
        ("upstream.port", integer(8080)),
        ("upstream.local_address", b"10.0.0.1:555"),
        ("upstream.request_attempt_count", integer(2)),
        ("upstream.transport_failure_reason", b""),
        ("upstream.cx_pool_ready_duration", integer(NS // 8)),
        ("xds.cluster_name", b"shop"),
        ("xds.route_name", b"r1"),
        ("xds.virtual_host_name", b"vh"),
        ("xds.route_metadata.filter_metadata.k.x", b"y"),
        ("xds.route_metadata", metadata("k", x="y")),
        ("xds.node", b"proto"),
        ("xds.node.id", b"n1"),
        ("xds.node.metadata.zone.a.1", b"two"),
        ("xds.node.metadata.nope", 1),
        ("xds.listener_direction", integer(1)),
        ("xds.nope", 1),
        ("xds", 3),
        ("metadata.filter_metadata.envoy\1lb.canary", b"\1"),
        ("metadata.filter_metadata.nope.canary", 1),
        ("metadata", metadata("envoy.lb", canary=True)),
        ("filter_state", 3),
        ("xds.filter_chain_name", b""),
        ("filter_state.my\1key", b"state"),
        ("plugin_name", b"tag"),
        ("plugin_root_id", b"r"),
        ("plugin_vm_id", b"v"),
        ("nothing.of.this", 1),
        ("", 3),
    ],
)
def test_a_property_has_the_value_and_the_encoding_of_envoy(path, wanted):
    request = make_request(direction=1)
    assert read(request, dotted(path).replace("\1", ".")) == wanted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cluster_name", "xds.cluster_name"),
        ("route_name", "xds.route_name"),
        ("node.id", "xds.node.id"),
        ("node.metadata.zone.a.0", "xds.node.metadata.zone.a.0"),
        ("listener_direction", "xds.listener_direction"),
        ("route_metadata.filter_metadata.k.x", "xds.route_metadata.filter_metadata.k.x"),
        ("connection_id", "connection.id"),
    ],
)
def test_the_older_spelling_is_the_same_property(old, new):
    request = make_request()
    found = read(request, dotted(old))
    assert isinstance(found, bytes)
    assert found == read(request, dotted(new))


FIELDS = {
    "null": None, "true": True, "number": 1.5, "whole": 3, "text": "é", "list": [1, "a", [None]],
    "inside": {"b": {}},
}  # fmt: skip


def test_metadata_are_the_message_that_protobuf_would_serialize():
    message = Metadata.FromString(metadata_message({"ns": FIELDS, "empty": {}}))
    wanted = Metadata()
    wanted.filter_metadata["ns"].update(FIELDS)
    wanted.filter_metadata["empty"].SetInParent()
    assert message == wanted


@pytest.mark.parametrize(
    ("code", "status"), [(200, 2), (400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (503, 14)]
)
def test_an_answer_that_is_not_grpc_has_the_status_of_its_code(code, status):
    request = make_request()
    request.callbacks.info.response_code = code
    assert read(request, "response\0grpc_status") == integer(status)


def test_the_values_of_a_header_are_joined_in_a_map():
    request = make_request()
    found = dict(decode(read(request, "request\0headers")))
    assert found[b"x-many"] == b"one,two"
    assert len(found) == len({name for name, _ in request.callbacks.info.request_headers.pairs})


def test_the_older_spellings_are_not_there_for_envoy():
    request = make_request(strict=True)
    for path in ("node", "cluster_name", "route_name", "listener_direction"):
        assert read(request, path) == 1
    assert read(request, "xds\0route_name") == b"r1"


def test_the_route_is_matched_when_somebody_asks_for_it():
    request = make_request()
    info = request.callbacks.info
    entry = SimpleNamespace(cluster=SimpleNamespace(name="only"))
    info.route = info.cluster = None
    request.callbacks.route = SimpleNamespace(
        name="late", action=SimpleNamespace(cluster="only"), choose=lambda headers, random: entry
    )
    assert read(request, "xds\0route_name") == b"late"
    assert read(request, "xds\0cluster_name") == b"only"
    info.route.action.cluster = ""  # one that weighs
    assert read(request, "xds\0cluster_name") == 1


@pytest.mark.parametrize("map_type", [0, 2])
def test_for_envoy_headers_are_known_while_their_map_is_open_and_in_the_log(map_type):
    request = make_request(strict=True)
    context = request.context
    path, whole = (
        ("request\0headers\0x-many", "request\0headers"),
        ("response\0headers\0content-type", "response\0headers"),
    )[map_type // 2]
    assert (read(request, path), read(request, whole)) == (1, encode([]))
    context.maps[map_type] = request.request if map_type == 0 else request.response
    assert read(request, path) != 1
    context.maps[map_type] = None
    context._in_log = True
    assert read(request, path) != 1


def test_a_trailing_nul_does_not_count():
    assert read(make_request(), "request\0path\0") == b"/cart?item=7"


def test_header_maps_are_encoded_as_pairs():
    request = make_request()
    assert decode(read(request, "response\0headers")) == request.response.pairs


def test_request_properties_are_there_in_the_response_for_friends():
    request = make_request()
    request.context._in_response = True
    assert read(request, "request\0path") == b"/cart?item=7"


@pytest.mark.parametrize("path", [each.decode() for each in (b"request\0path", b"source\0port")])
def test_a_root_has_no_stream(path):
    request = make_request()
    assert request.context.root.get_property(path.encode()) == 1
    assert request.context.root.get_property(b"plugin_root_id") == b"r"


def test_facts_that_are_not_known_yet_are_not_found():
    request = Request(World().plugin(filter_text("")))
    for path in ("source.address", "upstream.port", "response.code", "connection.id"):
        assert request.context.get_property(dotted(path).encode()) == 1


def test_what_a_guest_sets_it_can_read_and_others_as_filter_state():
    request = make_request()
    assert request.context.set_property(b"my\0own", b"value") == 0
    assert request.context.get_property(b"my\0own") == b"value"
    assert request.callbacks.info.filter_state["wasm.my\0own"] == b"value"


def test_what_a_guest_sets_does_not_hide_what_there_is():
    request = make_request()
    request.context.set_property(b"request\0path", b"/evil")
    assert read(request, "request\0path") == b"/cart?item=7"


def test_what_a_guest_sets_is_bounded():
    request = make_request()
    assert request.context.set_property(b"a", b"x" * (1 << 20)) == 2
    assert request.context.root.set_property(b"a", b"x" * ((1 << 20) + 1)) == 2


def test_compiled_paths_are_bounded():
    for number in range(CACHE_SIZE + 100):
        getter(b"path-%d" % number)
    assert len(_compiled) <= CACHE_SIZE


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, 1),
        ("text", b"text"),
        (b"bytes", b"bytes"),
        (True, b"\1"),
        (-1, b"\xff" * 8),
        (2**64 - 1, b"\xff" * 8),
        (1.5, struct.pack("<d", 1.5)),
        ({"a": 1}, encode([(b"a", integer(1))])),
        (["a", "b"], encode([(b"a", b""), (b"b", b"")])),
        ({"a": {"b": "c"}}, encode([(b"a", encode([(b"b", b"c")]))])),
        (object(), 3),
    ],
)
def test_values_are_encoded_by_their_kind(value, wanted):
    assert encode_value(value) == wanted


@pytest.mark.parametrize("path", [["a", "b", "c"], ["0"], ["a", "9"]])
def test_a_path_that_leads_nowhere_is_not_found(path):
    assert walk({"a": ["x"]}, path) == 1


def test_numbers_of_metadata_are_doubles_as_in_a_struct():
    request = make_request()
    request.callbacks.info.set_dynamic_metadata("ns", "list", [1, True, {"a": 2}])
    inside = encode([(b"a", struct.pack("<d", 2))])
    wanted = encode([(struct.pack("<d", 1), b""), (b"\1", b""), (inside, b"")])
    assert read(request, "metadata\0filter_metadata\0ns\0list") == wanted


def test_the_locality_of_the_host_is_a_message():
    request = make_request()
    host = request.callbacks.info.upstream_host
    host.locality = SimpleNamespace(region="eu", zone="a", sub_zone="")
    host.metadata = None
    found = Locality.FromString(read(request, "upstream\0locality"))
    assert found == Locality(region="eu", zone="a")
    assert read(request, "xds\0upstream_host_metadata") == 3


@pytest.mark.parametrize(("strict", "wanted"), [(True, 1), (False, b"v")])
def test_a_key_of_several_parts_can_be_read_back_by_friends(strict, wanted):
    request = make_request(strict=strict)
    assert request.context.set_property(b"a\0b", b"v") == 0
    assert request.context.get_property(b"a\0b") == wanted
    assert request.context.get_property(b"filter_state\0wasm.a\0b") == wanted
