import json

import pytest

from meshproxy import __version__

# In Envoy's order.
ENVOY_OPTIONS = (
    "base_id",
    "concurrency",
    "config_path",
    "config_yaml",
    "allow_unknown_static_fields",
    "admin_address_path",
    "local_address_ip_version",
    "log_level",
    "component_log_level",
    "log_format",
    "log_path",
    "service_cluster",
    "service_node",
    "service_zone",
    "file_flush_interval",
    "drain_time",
    "parent_shutdown_time",
    "mode",
    "disable_hot_restart",
    "enable_mutex_tracing",
    "restart_epoch",
    "cpuset_threads",
    "reject_unknown_dynamic_fields",
    "log_format_escaped",
    "disabled_extensions",
    "ignore_unknown_dynamic_fields",
    "use_dynamic_base_id",
    "base_id_path",
    "drain_strategy",
    "enable_fine_grain_logging",
    "socket_path",
    "socket_mode",
    "enable_core_dump",
    "stats_tag",
    "skip_hot_restart_on_no_parent",
    "skip_hot_restart_parent_stats",
    "skip_deprecated_logs",
    "file_flush_min_size",
    "log_stacktrace_single_entry",
)


@pytest.fixture
def info(ask):
    return json.loads(ask("/server_info")[1])


def test_the_keys_are_envoys_in_envoys_order(info):
    assert list(info) == [
        "version",
        "state",
        "uptime_current_epoch",
        "uptime_all_epochs",
        "hot_restart_version",
        "command_line_options",
        "node",
        "hot_restart_initializing",
    ]
    assert tuple(info["command_line_options"]) == ENVOY_OPTIONS
    assert list(info["node"]) == [
        "id",
        "cluster",
        "locality",
        "user_agent_name",
        "user_agent_build_version",
        "extensions",
    ]


def test_the_values_are_this_servers(info):
    assert info["version"].split("/")[1] == __version__
    assert info["state"] == "LIVE"
    assert info["uptime_current_epoch"] == "9s"
    options = info["command_line_options"]
    assert options["config_path"] == "x.yaml"
    assert options["component_log_level"] == "http:debug"
    assert options["drain_time"] == "600s"
    assert options["mode"] == "Serve"
    assert options["drain_strategy"] == "Gradual"
    assert options["file_flush_interval"] == "1s"
    assert info["node"]["locality"] == {"region": "", "zone": "z1", "sub_zone": ""}
    assert info["node"]["extensions"][0]["type_urls"] == [
        "envoy.extensions.filters.http.router.v3.Router"
    ]


@pytest.mark.parametrize(
    ("state", "status"),
    [("LIVE", 200), ("DRAINING", 503), ("INITIALIZING", 503), ("PRE_INITIALIZING", 503)],
)
def test_only_a_live_server_is_ready(ask, server, state, status):
    server.state = state
    assert ask("/ready") == (status, f"{state}\n")


def test_memory_has_envoys_keys_as_texts(ask):
    tree = json.loads(ask("/memory")[1])
    assert list(tree) == [
        "allocated",
        "heap_size",
        "pageheap_unmapped",
        "pageheap_free",
        "total_thread_cache",
        "total_physical_bytes",
    ]
    assert all(value.isdecimal() for value in tree.values())


def test_runtime_shows_every_layer_and_what_counts(ask):
    assert json.loads(ask("/runtime")[1]) == {
        "entries": {
            "a": {"layer_values": ["1", "9"], "final_value": "9"},
            "b": {"layer_values": ["2", ""], "final_value": "2"},
        },
        "layers": ["base", "admin"],
    }


def test_runtime_without_layers_is_empty(ask, server):
    server.runtime_layers = []
    assert ask("/runtime") == (200, '{\n "entries": {},\n "layers": []\n}\n')


def test_init_dump_names_the_clusters_that_wait(ask, server):
    assert ask("/init_dump") == (200, "{}\n")
    server.clusters["dns"].initialized = False
    tree = json.loads(ask("/init_dump")[1])
    assert tree["unready_targets_dumps"][0]["target_names"] == ["Cluster dns"]


def test_small_answers_are_envoys(ask):
    assert ask("/certs") == (200, '{\n "certificates": []\n}\n')
    assert ask("/hot_restart_version") == (200, "disabled")
    assert ask("/contention")[1].startswith("Mutex contention tracing is not enabled.")
