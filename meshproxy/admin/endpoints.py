"""THE LIST of admin endpoints, and what is asked of all of them: routing, methods, help.

Owns paths, help texts (Envoy's) and the dispatch. Refuses to know sockets (`admin/app.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.admin import (
    clusters,
    config_dump,
    control,
    home,
    prometheus,
    server_info,
    stats_text,
    wasm,
)
from meshproxy.admin.endpoint import HTML, JSON, Answer, BadRequest, Endpoint, Param, Query
from meshproxy.admin.selection import FILTER, INVERT_FILTER, TYPE, USED_ONLY, Selection

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from meshproxy.admin.view import ServerView

FORMATS: Final = ("html", "active-html", "text", "json")
BUCKET_MODES: Final = ("cumulative", "disjoint", "detailed", "summary")


def handle(view: ServerView, method: str, path: str, query: Query) -> Answer | Awaitable[Answer]:
    """Answer one request; every path and method has an answer."""
    endpoint = BY_PATH.get(path)
    if endpoint is None:
        return Answer(f"invalid path. {help_text()}", 404)
    if endpoint.mutates and method != "POST":
        return Answer(f"Method {method} not allowed, POST required.", 405)
    try:
        return endpoint.handler(view, query)
    except BadRequest as error:
        return error.answer()


def help_text() -> str:
    """What `/help` says."""
    lines = ["admin commands are:\n"]
    for endpoint in ENDPOINTS:
        post = " (POST)" if endpoint.mutates else ""
        lines.append(f"  {endpoint.path}{post}: {endpoint.help}\n")
        for param in endpoint.params:
            choices = f"; One of ({', '.join(param.choices)})" if param.choices else ""
            lines.append(f"      {param.name}: {param.help}{choices}\n")
    return "".join(lines)


def stats(view: ServerView, query: Query) -> Answer:
    """`/stats` in all its formats."""
    form, mode = query.get("format", "text"), query.get("histogram_buckets")
    if form == "prometheus":
        return prometheus_stats(view, query)
    if form not in FORMATS:
        raise BadRequest("usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
    if mode == "prometheusnative":
        raise BadRequest("Invalid histogram_buckets type for non prometheus stats type")
    if mode and mode not in BUCKET_MODES:
        raise BadRequest(
            "usage: /stats?histogram_buckets="
            "(cumulative|disjoint|detailed|summary|prometheusnative)\n"
        )
    chosen = Selection(query).metrics(view.store)
    if form == "json":
        return Answer(stats_text.as_json(chosen, mode, view.store.buckets), content_type=JSON)
    lines = stats_text.text(chosen, mode, view.store.buckets)
    if form == "text":
        return Answer(lines)
    page = home.stats_page(BY_PATH["/stats"], query, lines, refresh=form == "active-html")
    return Answer(page, content_type=HTML)


def prometheus_stats(view: ServerView, query: Query) -> Answer:
    """`/stats/prometheus`"""
    mode = query.get("histogram_buckets")
    return Answer(prometheus.exposition(view.store, Selection(query), mode))


def help_page(view: ServerView, query: Query) -> Answer:
    """`/help`"""
    return Answer(help_text())


def home_page(view: ServerView, query: Query) -> Answer:
    """`/`: every endpoint as a link or a form."""
    return Answer(home.page(ENDPOINTS), content_type=HTML)


_RESOURCE: Final = Param("resource", "The resource to dump")
_MASK: Final = Param(
    "mask",
    "The mask to apply. When both resource and mask are specified, the mask is applied to every "
    "element in the desired repeated field so that only a subset of fields are returned. The mask "
    "is parsed as a Protobuf::FieldMask",
)
_NAME_REGEX: Final = Param(
    "name_regex",
    "Dump only the currently loaded configurations whose names match the specified regex. Can be "
    "used with both resource and mask query parameters.",
)
_INCLUDE_EDS: Final = Param(
    "include_eds",
    "Dump currently loaded configuration including EDS. See the response definition for more "
    "information",
    flag=True,
)
_DRAIN: Final = (
    Param(
        "graceful",
        "When draining listeners, enter a graceful drain period prior to closing listeners. This "
        "behaviour and duration is configurable via server options or CLI",
        flag=True,
    ),
    Param(
        "skip_exit",
        "When draining listeners, drain the connections but never stop the listeners. The graceful "
        "parameter has no effect when this is set, since the drain period only delays stopping the "
        "listeners",
        flag=True,
    ),
    Param(
        "inboundonly",
        "Drains all inbound listeners. traffic_direction field in "
        "envoy_v3_api_msg_config.listener.v3.Listener is used to determine whether a listener is "
        "inbound or outbound.",
        flag=True,
    ),
)
_LOGGING: Final = (
    Param(
        "paths",
        "Change multiple logging levels by setting to "
        "<logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>.",
    ),
    Param(
        "level",
        "desired logging level, this will change all loggers's level",
        ("", *control.LEVELS),
    ),
)
_STATS: Final = (
    USED_ONLY,
    FILTER,
    INVERT_FILTER,
    Param("format", "Format to use", FORMATS),
    TYPE,
    Param("histogram_buckets", "Histogram bucket display mode", BUCKET_MODES),
)
_PROMETHEUS: Final = (
    USED_ONLY,
    Param(
        "text_readouts",
        "Render text_readouts as new gaugues with value 0 (increases Prometheus data size)",
        flag=True,
    ),
    FILTER,
    INVERT_FILTER,
    Param("histogram_buckets", "Histogram bucket display mode", prometheus.MODES),
)

ENDPOINTS: Final = (
    Endpoint("/", "Admin home page", home_page),
    Endpoint("/certs", "print certs on machine", server_info.certs),
    Endpoint(
        "/clusters",
        "upstream cluster status",
        clusters.clusters,
        params=(
            Param("filter", "Regular expression (Google re2) for filtering clusters by name"),
            Param("format", "File format to use", ("text", "json")),
        ),
    ),
    Endpoint(
        "/config_dump",
        "dump current Envoy configs",
        config_dump.config_dump,
        params=(_RESOURCE, _MASK, _NAME_REGEX, _INCLUDE_EDS),
    ),
    Endpoint(
        "/contention",
        "dump current Envoy mutex contention stats (if enabled)",
        server_info.contention,
    ),
    Endpoint(
        "/drain_listeners", "drain listeners", control.drain_listeners, mutates=True, params=_DRAIN
    ),
    Endpoint(
        "/healthcheck/fail",
        "cause the server to fail health checks",
        control.healthcheck_fail,
        mutates=True,
    ),
    Endpoint(
        "/healthcheck/ok",
        "cause the server to pass health checks",
        control.healthcheck_ok,
        mutates=True,
    ),
    Endpoint("/help", "print out list of admin commands", help_page),
    Endpoint(
        "/hot_restart_version",
        "print the hot restart compatibility version",
        server_info.hot_restart_version,
    ),
    Endpoint(
        "/init_dump",
        "dump current Envoy init manager information (experimental)",
        server_info.init_dump,
    ),
    Endpoint(
        "/listeners",
        "print listener info",
        clusters.listeners,
        params=(Param("format", "File format to use", ("text", "json")),),
    ),
    Endpoint(
        "/logging", "query/change logging levels", control.logging, mutates=True, params=_LOGGING
    ),
    Endpoint("/memory", "print current allocation/heap usage", server_info.memory_json),
    Endpoint("/quitquitquit", "exit the server", control.quit_server, mutates=True),
    Endpoint(
        "/ready",
        "print server state, return 200 if LIVE, otherwise return 503",
        server_info.ready,
    ),
    Endpoint("/reopen_logs", "reopen access logs", control.reopen_logs, mutates=True),
    Endpoint("/reset_counters", "reset all counters to zero", control.reset_counters, mutates=True),
    Endpoint("/runtime", "print runtime values", server_info.runtime),
    Endpoint(
        "/runtime_modify",
        "Adds or modifies runtime values as passed in query parameters. To delete a previously "
        "added key, use an empty string as the value. Note that deletion only applies to overrides "
        "added via this endpoint; values loaded from disk can be modified via override but not "
        "deleted. E.g. ?key1=value1&key2=value2...",
        control.runtime_modify,
        mutates=True,
    ),
    Endpoint("/server_info", "print server version/status information", server_info.server_info),
    Endpoint("/stats", "print server stats", stats, params=_STATS),
    Endpoint(
        "/stats/prometheus",
        "print server stats in prometheus format",
        prometheus_stats,
        params=_PROMETHEUS,
    ),
    Endpoint(
        "/wasm",
        "Wasm plugins and VMs: code, memory, streams, time per callback, the last trap",
        wasm.wasm,
        params=(Param("format", "File format to use", ("text", "json")),),
    ),
    Endpoint(
        "/wasm/reload",
        "load the code of Wasm plugins anew; the old VMs end with their last streams",
        wasm.reload,
        mutates=True,
        params=(Param("plugin", "The plugin to reload, may be given several times; default all"),),
    ),
)

BY_PATH: Final = {endpoint.path: endpoint for endpoint in ENDPOINTS}
