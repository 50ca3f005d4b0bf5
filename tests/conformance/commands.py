"""The commands of the sweep: every hostcall, with arguments that show what its phase is like.

Owns what is asked in every phase alike. Refuses to know phases.
"""

from __future__ import annotations

from typing import Final

_MAPS: Final = range(9)
_BUFFERS: Final = range(10)
PROPERTIES: Final = (
    "request%00path", "request%00url_path", "request%00host", "request%00scheme",
    "request%00method", "request%00headers%00x-one", "request%00headers%00x-many",
    "request%00referer", "request%00useragent", "request%00protocol", "request%00query",
    "request%00size", "request%00headers", "request", "response%00code", "response%00code_details",
    "response%00flags", "response%00grpc_status", "response%00headers%00x-up",
    "response%00trailers%00x-late", "response%00size", "response", "connection%00mtls",
    "connection%00requested_server_name", "connection%00tls_version", "source%00address",
    "destination%00address", "upstream%00address", "upstream%00request_attempt_count",
    "xds%00cluster_name", "xds%00route_name", "xds%00virtual_host_name",
    "xds%00listener_direction", "xds%00node%00id", "xds%00node%00cluster", "xds%00cluster_metadata",
    "xds%00filter_chain_name", "plugin_name", "plugin_root_id",
    "plugin_vm_id", "metadata", "nothing", "", "xds", "node", "request%00nothing",
    "connection%00termination_details", "upstream%00transport_failure_reason",
    "upstream%00locality", "xds%00listener_metadata", "xds%00upstream_host_metadata",
    "xds%00virtual_host_metadata",
    "xds%00route_metadata%00filter_metadata%00ns%00k",
    "xds%00route_metadata%00filter_metadata%00ns%00b",
    "xds%00route_metadata%00filter_metadata%00ns%00l",
    "xds%00route_metadata%00filter_metadata%00ns%00s",
    "xds%00route_metadata%00filter_metadata%00ns%00s%00d",
    "xds%00route_metadata%00filter_metadata%00no", "xds%00route_metadata%00ns",
    "metadata%00filter_metadata", "metadata%00filter_metadata%00ns", "response%00trailers",
    "request%00trailers%00x-last", "filter_state", "filter_state%00x", "upstream",
    "upstream%00nothing", "upstream%00tls_version", "connection%00subject_peer_certificate",
    "connection%00transport_failure_reason", "source%00port%00x", "response%00code%00x",
    "request%00headers%00x%00y", "plugin_name%00x", "xds%00nothing",
)  # fmt: skip

PAIRS: Final = (
    "%02%00%00%00" "%07%00%00%00%03%00%00%00" "%05%00%00%00%04%00%00%00"
    ":method%00GET%00" ":path%00/set%00"
)  # fmt: skip
GOOD_PAIRS: Final = (
    "%04%00%00%00" "%07%00%00%00%03%00%00%00" "%05%00%00%00%06%00%00%00" "%0A%00%00%00%04%00%00%00"
    "%03%00%00%00%01%00%00%00"
    ":method%00GET%00" ":path%00/other%00" ":authority%00auth%00" "x-a%00b%00"
)  # fmt: skip
STATUS_PAIRS: Final = (
    "%02%00%00%00" "%07%00%00%00%03%00%00%00" "%03%00%00%00%01%00%00%00"
    ":status%00203%00" "x-a%00b%00"
)  # fmt: skip
CALL_HEADERS: Final = (
    "%03%00%00%00" "%07%00%00%00%03%00%00%00" "%05%00%00%00%06%00%00%00" "%0A%00%00%00%04%00%00%00"
    ":method%00GET%00" ":path%00/check%00" ":authority%00auth%00"
)  # fmt: skip

READING: Final = {
    "proxy_get_header_map_value": [
        *(f"{number}|x-one" for number in _MAPS), "0|:path", "0|X-Many", "0|x-empty", "0|host",
        "0|nothing", "2|:status", "2|x-up", "1|x-last", "3|x-late",
    ],
    "proxy_get_header_map_pairs": [str(number) for number in _MAPS],
    "proxy_get_header_map_size": [str(number) for number in _MAPS],
    "proxy_get_buffer_status": [str(number) for number in _BUFFERS if number != 8],
    "proxy_get_buffer_bytes": [*(f"{number}|0|100" for number in range(6)), "6|0|4", "7|0|4",
                               "9|0|9", "0|2|2", "0|100|5", "1|2|-1"],
    "proxy_get_property": list(PROPERTIES),
    "proxy_get_log_level": [""],
    "proxy_get_status": [""],
    "proxy_get_current_time_nanoseconds": [""],
    "proxy_get_shared_data": ["nothing"],
    "proxy_resolve_shared_queue": ["vm|nothing"],
    "proxy_dequeue_shared_queue": ["99"],
    "proxy_get_metric": ["4000", "4001", "4002", "4003"],
    "proxy_get_configuration": [""],
}  # fmt: skip
"""Hostcalls that change nothing: their arguments, command by command."""

CHANGING: Final = {
    "proxy_log": ["1|quiet", "7|no such level"],
    "proxy_set_tick_period_milliseconds": ["0"],
    "proxy_set_property": ["probe|value", "|x", "a%00b|x"],
    "proxy_get_property": ["probe", "a%00b", "filter_state%00wasm.probe"],
    "proxy_set_effective_context": ["0", "1", "@", "4000", "0"],
    "proxy_done": [""],
    "proxy_clear_route_cache": [""],
    "proxy_add_header_map_value": [*(f"{number}|x-new|1" for number in _MAPS), "0|X-New|2"],
    "proxy_replace_header_map_value": [*(f"{number}|x-set|1" for number in _MAPS), "0|x-many|c"],
    "proxy_remove_header_map_value": [*(f"{number}|x-gone" for number in _MAPS), "0|x-one"],
    "proxy_set_buffer_bytes": [*(f"{number}|0|0|>" for number in _BUFFERS), "0|100|0|<"],
    "proxy_define_metric": ["0|probe_counter", "3|none"],
    "proxy_increment_metric": ["4000|1", "4001|1", "4002|1", "4003|1"],
    "proxy_record_metric": ["4000|1", "4001|1", "4002|1", "4003|1"],
    "proxy_set_shared_data": ["key|value|0", "key|other|4000"],
    "proxy_register_shared_queue": ["queue"],
    "proxy_enqueue_shared_queue": ["99|item"],
    "proxy_call_foreign_function": ["nothing|x", "compress|aaaa", "uncompress|no"],
    "proxy_http_call": [f"nobody|{CALL_HEADERS}|||100", "up||||100"],
    "proxy_grpc_call": ["nobody|s|m|||100"],
    "proxy_grpc_stream": ["nobody|s|m|"],
    "proxy_grpc_send": ["4000|x|0", "4001|x|0", "4002|x|0"],
    "proxy_grpc_cancel": ["4000", "4001", "4002"],
    "proxy_grpc_close": ["4000", "4001", "4002"],
}  # fmt: skip
"""Hostcalls that change something, but not how the stream goes on."""

DECIDING: Final = {
    "proxy_set_header_map_pairs": [
        *(f"{number}|{PAIRS}" for number in _MAPS),
        "0|",
        "0|rubbish",
        f"0|{GOOD_PAIRS}",
        "2|",
        f"2|{STATUS_PAIRS}",
    ],
    "proxy_replace_header_map_value": [
        "0|:path|/other",
        "0|:method|PUT",
        "0|:authority|",
        "0|host|other.example",
        "0|:scheme|https",
        "0|:path|",
        "0|:path|nothing",
        "0|:odd|1",
        "0|bad name|1",
        "0|x-a|b%0D%0Ac",
        "2|:status|404",
        "2|:status|abc",
        "2|:status|",
        "2|:status|99",
        "2|content-type|a/b",
        "2|:odd|1",
    ],
    "proxy_remove_header_map_value": [
        "0|:path",
        "0|:method",
        "0|:authority",
        "0|:scheme",
        "2|:status",
        "2|content-type",
    ],
    "proxy_add_header_map_value": [
        "0|:path|/more",
        "0|host|more",
        "0|content-type|a",
        "0|user-agent|more",
        "2|content-type|b",
        "2|:status|201",
        "0|x-one|2",
        "0||empty",
        "1|x-t|1",
        "3|x-t|1",
    ],
    "proxy_set_buffer_bytes": [
        "0|0|0|<",
        "0|0|2|<",
        "0|0|100|all",
        "0|100|5|>",
        "0|2|2|mid",
        "0|0|-1|",
        "1|0|0|<",
        "1|0|2|<",
        "1|0|100|all",
        "1|100|5|>",
        "1|2|2|mid",
        "1|0|-1|",
    ],
    "proxy_send_local_response": ["418|why not|tea||-1"],
    "proxy_continue_stream": [str(number) for number in range(5)],
    "proxy_close_stream": [str(number) for number in range(5)],
    "proxy_continue_request": [""],
    "proxy_continue_response": [""],
}
"""Hostcalls after which the stream goes on differently: each has a case of its own."""


def commands(table: dict[str, list[str]], names: frozenset[str]) -> list[str]:
    """All commands of a table whose hostcall is one of `names`."""
    return [
        f"{name}|{arguments}" if arguments else name
        for name, every in table.items()
        if name in names
        for arguments in every
    ]


def programs(phase: str, table: dict[str, list[str]], names: frozenset[str]) -> list[str]:
    """Programs for a phase, none of them too long for a header."""
    found, line = [], ""
    for command in commands(table, names):
        if len(line) + len(command) > 4000:
            found.append(f"{phase}={line}")
            line = ""
        line = f"{line};{command}" if line else command
    return [*found, f"{phase}={line}"] if line else found
