"""Names and labels as the real Envoy 1.40 showed them for the dotted names."""

import pytest

from meshproxy.stats.tags import Tag, TagProducer, default_tag, sanitize

ENVOY = [
    ("cluster.web.upstream_rq_200", "cluster.upstream_rq",
     'envoy_response_code="200",envoy_cluster_name="web"'),
    ("cluster.web.upstream_rq_2xx", "cluster.upstream_rq_xx",
     'envoy_response_code_class="2",envoy_cluster_name="web"'),
    ("cluster.web.external.upstream_rq_503", "cluster.external.upstream_rq",
     'envoy_response_code="503",envoy_cluster_name="web"'),
    ("cluster.web.circuit_breakers.high.cx_open", "cluster.circuit_breakers.high.cx_open",
     'envoy_cluster_name="web"'),
    ("http.ingress.downstream_rq_4xx", "http.downstream_rq_xx",
     'envoy_response_code_class="4",envoy_http_conn_manager_prefix="ingress"'),
    ("http.ingress.no_route", "http.no_route", 'envoy_http_conn_manager_prefix="ingress"'),
    ("http.async-client.rq_total", "http.rq_total",
     'envoy_http_conn_manager_prefix="async-client"'),
    ("listener.127.0.0.1_20000.downstream_cx_total", "listener.downstream_cx_total",
     'envoy_listener_address="127.0.0.1_20000"'),
    ("listener.[__1]_80.downstream_cx_total", "listener.downstream_cx_total",
     'envoy_listener_address="[__1]_80"'),
    ("listener.my_prefix.downstream_cx_total", "listener.downstream_cx_total",
     'envoy_listener_address="my_prefix"'),
    ("listener.127.0.0.1_20000.http.ingress.downstream_rq_2xx", "listener.http.downstream_rq_xx",
     'envoy_response_code_class="2",envoy_http_conn_manager_prefix="ingress",'
     'envoy_listener_address="127.0.0.1_20000"'),
    ("listener.127.0.0.1_20000.worker_0.downstream_cx_total",
     "listener.worker_downstream_cx_total",
     'envoy_worker_id="0",envoy_listener_address="127.0.0.1_20000"'),
    ("listener.admin.downstream_cx_total", "listener.admin.downstream_cx_total", ""),
    ("listener.admin.http.admin.downstream_rq_2xx", "listener.admin.http.downstream_rq_xx",
     'envoy_response_code_class="2",envoy_http_conn_manager_prefix="admin"'),
    ("server.worker_0.watchdog_miss", "server.worker_watchdog_miss", 'envoy_worker_id="0"'),
    ("vhost.a.vcluster.b.upstream_rq_200", "vhost.vcluster.upstream_rq",
     'envoy_response_code="200",envoy_virtual_cluster="b",envoy_virtual_host="a"'),
    ("wasm.tag.vm_reload", "wasm.tag.vm_reload", ""),
    ("server.live", "server.live", ""),
    # Ours alone.
    ("wasm.a.b.callback.proxy_on_log.time_us", "wasm.callback.time_us",
     'wasm_plugin="a.b",wasm_callback="proxy_on_log"'),
    ("wasm.p.memory_bytes", "wasm.memory_bytes", 'wasm_plugin="p"'),
    ("wasm.p.module_reload_success", "wasm.module_reload_success", 'wasm_plugin="p"'),
    ("wasm.p.streams_paused_timeout", "wasm.streams_paused_timeout", 'wasm_plugin="p"'),
    ("wasm.p.traps", "wasm.traps", 'wasm_plugin="p"'),
]  # fmt: skip


def shown(labels):
    return ",".join(f'{name}="{value}"' for name, value in labels)


@pytest.mark.parametrize(("name", "tagged", "labels"), ENVOY, ids=[row[0] for row in ENVOY])
def test_a_name_gives_envoys_tagged_name_and_labels_in_envoys_order(name, tagged, labels):
    produced, found = TagProducer().produce(name)
    assert (produced, shown(found)) == (tagged, labels)


def test_fixed_tags_come_first_and_overlapping_custom_ones_cut_once():
    producer = TagProducer(
        [
            Tag("cli", value="tag"),
            Tag("zone", value='z"9'),
            Tag("my.part", r"^cluster\.web((\.a_))"),
        ]
    )
    tagged, labels = producer.produce("cluster.web.a_b.assignment_stale")
    assert tagged == "cluster.b.assignment_stale"
    assert labels == (
        ("cli", "tag"),
        ("zone", 'z"9'),
        ("envoy_cluster_name", "web"),
        ("my_part", ".a_"),
    )


def test_without_the_default_tags_only_the_custom_ones_are_found():
    producer = TagProducer(default_tag("envoy.response_code"), use_all_default_tags=False)
    assert producer.produce("cluster.web.upstream_rq_200") == (
        "cluster.web.upstream_rq",
        (("envoy_response_code", "200"),),
    )


def test_a_custom_pattern_with_one_group_cuts_and_shows_that_group():
    producer = TagProducer([Tag("shard", r"\.(s\d+)")], use_all_default_tags=False)
    assert producer.produce("db.s7.reads") == ("db..reads", (("shard", "s7"),))


def test_an_unmatched_optional_group_gives_no_label():
    producer = TagProducer([Tag("shard", r"^db(\.s\d)?")], use_all_default_tags=False)
    assert producer.produce("db.reads") == ("db.reads", ())


def test_a_default_tag_that_does_not_exist_is_empty():
    assert default_tag("envoy.no_such_tag") == []


def test_colons_do_not_survive_in_a_name():
    assert sanitize("[::1]:80") == "[__1]_80"
    assert sanitize("http://a:/b") == "http_a_b"
