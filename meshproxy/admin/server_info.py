"""What the server says about itself: `/server_info`, `/ready`, `/memory`, `/runtime` and more.

Owns those answers. Refuses to change anything (`admin/control.py`).
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any, Final

from meshproxy import __version__
from meshproxy.admin.endpoint import JSON, Answer, Query
from meshproxy.stats.memory import memory

if TYPE_CHECKING:
    from meshproxy.admin.view import CommandLine, ServerView

HOT_RESTART_VERSION: Final = "disabled"


def ready(view: ServerView, query: Query) -> Answer:
    """The state; 200 only when traffic may come."""
    return Answer(f"{view.state}\n", 200 if view.state == "LIVE" else 503)


def server_info(view: ServerView, query: Query) -> Answer:
    """Version, state, flags and node."""
    uptime = f"{int(view.uptime)}s"
    return as_json(
        {
            "version": build_version(),
            "state": view.state,
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "hot_restart_version": HOT_RESTART_VERSION,
            "command_line_options": command_line_options(view.options),
            "node": node(view),
            "hot_restart_initializing": False,
        }
    )


def build_version() -> str:
    """Envoy's `revision/version/status/build type/TLS library`; tools read the second part."""
    return f"meshproxy/{__version__}/Clean/RELEASE/{ssl.OPENSSL_VERSION.split()[0]}"


def command_line_options(options: CommandLine) -> dict[str, Any]:
    """`envoy.admin.v3.CommandLineOptions`: every field, in Envoy's order."""
    levels = ",".join(f"{component}:{level}" for component, level in options.component_log_level)
    interval = options.file_flush_interval_msec / 1000
    return {
        "base_id": "0",
        "concurrency": options.concurrency,
        "config_path": options.config_path,
        "config_yaml": options.config_yaml,
        "allow_unknown_static_fields": False,
        "admin_address_path": options.admin_address_path,
        "local_address_ip_version": "v4",
        "log_level": options.log_level,
        "component_log_level": levels,
        "log_format": options.log_format,
        "log_path": options.log_path,
        "service_cluster": options.service_cluster,
        "service_node": options.service_node,
        "service_zone": options.service_zone,
        "file_flush_interval": f"{interval:g}s" if interval % 1 == 0 else f"{interval:.3f}s",
        "drain_time": f"{options.drain_time_s}s",
        "parent_shutdown_time": f"{options.parent_shutdown_time_s}s",
        "mode": options.mode.capitalize(),
        "disable_hot_restart": True,
        "enable_mutex_tracing": False,
        "restart_epoch": 0,
        "cpuset_threads": False,
        "reject_unknown_dynamic_fields": False,
        "log_format_escaped": options.log_format_escaped,
        "disabled_extensions": [],
        "ignore_unknown_dynamic_fields": False,
        "use_dynamic_base_id": False,
        "base_id_path": "",
        "drain_strategy": options.drain_strategy.capitalize(),
        "enable_fine_grain_logging": False,
        "socket_path": "@envoy_domain_socket",
        "socket_mode": 0,
        "enable_core_dump": False,
        "stats_tag": [],
        "skip_hot_restart_on_no_parent": False,
        "skip_hot_restart_parent_stats": False,
        "skip_deprecated_logs": False,
        "file_flush_min_size": 0,
        "log_stacktrace_single_entry": False,
    }


def node(view: ServerView) -> dict[str, Any]:
    """`envoy.config.core.v3.Node`: as configured, the flags over it, and what this build can do."""
    configured = view.bootstrap.get("node", {})
    options = view.options
    locality = configured.get("locality", {})
    major, minor, patch = (*(int(part) for part in __version__.split(".")[:3]), 0, 0, 0)[:3]
    return {
        "id": options.service_node or configured.get("id", ""),
        "cluster": options.service_cluster or configured.get("cluster", ""),
        **({"metadata": configured["metadata"]} if configured.get("metadata") else {}),
        "locality": {
            "region": locality.get("region", ""),
            "zone": options.service_zone or locality.get("zone", ""),
            "sub_zone": locality.get("sub_zone", ""),
        },
        "user_agent_name": "meshproxy",
        "user_agent_build_version": {
            "version": {"major_number": major, "minor_number": minor, "patch": patch},
            "metadata": {"build.type": "RELEASE", "ssl.version": ssl.OPENSSL_VERSION},
        },
        "extensions": [
            {
                "name": name,
                "category": category,
                "type_descriptor": "",
                "disabled": False,
                "type_urls": [message],
            }
            for name, category, message in view.extensions
        ],
    }


def memory_json(view: ServerView, query: Query) -> Answer:
    """`envoy.admin.v3.Memory`; the parts of an allocator that is not here are 0."""
    allocated, heap_size, physical = memory()
    return as_json(
        {
            "allocated": str(allocated),
            "heap_size": str(heap_size),
            "pageheap_unmapped": "0",
            "pageheap_free": "0",
            "total_thread_cache": "0",
            "total_physical_bytes": str(physical),
        }
    )


def runtime(view: ServerView, query: Query) -> Answer:
    """Every runtime key with its value in each layer and the one that counts."""
    layers = view.runtime_layers
    entries = {}
    for key in sorted({key for _, values in layers for key in values}):
        in_layers = [values.get(key, "") for _, values in layers]
        final = next((values[key] for _, values in reversed(layers) if key in values), "")
        entries[key] = {"layer_values": in_layers, "final_value": final}
    return as_json({"entries": entries, "layers": [name for name, _ in layers]})


def certs(view: ServerView, query: Query) -> Answer:
    """Every certificate in use, by TLS context."""
    from meshproxy.network.tls.inventory import certificates  # loads `cryptography`

    return as_json({"certificates": certificates(view.tls_ends)})


def init_dump(view: ServerView, query: Query) -> Answer:
    """Targets that are not ready: the clusters still without their first hosts."""
    waiting = [name for name, cluster in view.clusters.items() if not cluster.initialized]
    if not waiting:
        return as_json({})
    targets = [f"Cluster {name}" for name in waiting]
    dump = {"name": "init manager Server", "target_names": targets}
    return as_json({"unready_targets_dumps": [dump]})


def hot_restart_version(view: ServerView, query: Query) -> Answer:
    """There is no hot restart."""
    return Answer(HOT_RESTART_VERSION)


def contention(view: ServerView, query: Query) -> Answer:
    """There is no mutex to wait for."""
    return Answer(
        "Mutex contention tracing is not enabled. To enable, run Envoy with flag "
        "--enable-mutex-tracing."
    )


def as_json(tree: object) -> Answer:
    """A small tree as Envoy prints its messages."""
    return Answer(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", content_type=JSON)
