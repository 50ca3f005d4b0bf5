"""The Proxy-Wasm ABI as data: versions, numbers, every hostcall and callback with its signature.

Owns the tables that registration, capability restriction, tests and documentation are made from.
Refuses to do anything. Names are the specification's, verbatim, so that grep finds everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

# Versions, in the order in which Envoy looks for their marker exports.
V0_1_0: Final = 1
V0_2_0: Final = 2
V0_2_1: Final = 3
MARKERS: Final = {
    "proxy_abi_version_0_1_0": V0_1_0,
    "proxy_abi_version_0_2_0": V0_2_0,
    "proxy_abi_version_0_2_1": V0_2_1,
}

# Status of a hostcall
OK: Final = 0
NOT_FOUND: Final = 1
BAD_ARGUMENT: Final = 2
SERIALIZATION_FAILURE: Final = 3
PARSE_FAILURE: Final = 4
INVALID_MEMORY_ACCESS: Final = 6
EMPTY: Final = 7
CAS_MISMATCH: Final = 8
INTERNAL_FAILURE: Final = 10
BROKEN_CONNECTION: Final = 11
UNIMPLEMENTED: Final = 12

# Map types; the first four belong to a stream.
REQUEST_HEADERS: Final = 0
REQUEST_TRAILERS: Final = 1
RESPONSE_HEADERS: Final = 2
RESPONSE_TRAILERS: Final = 3
GRPC_RECEIVE_INITIAL_METADATA: Final = 4
GRPC_RECEIVE_TRAILING_METADATA: Final = 5
HTTP_CALL_RESPONSE_HEADERS: Final = 6
HTTP_CALL_RESPONSE_TRAILERS: Final = 7
MAP_TYPES: Final = 8

# Buffer types
REQUEST_BODY: Final = 0
RESPONSE_BODY: Final = 1
DOWNSTREAM_DATA: Final = 2
UPSTREAM_DATA: Final = 3
HTTP_CALL_RESPONSE_BODY: Final = 4
GRPC_RECEIVE_BUFFER: Final = 5
VM_CONFIGURATION: Final = 6
PLUGIN_CONFIGURATION: Final = 7
CALL_DATA: Final = 8
BUFFER_TYPES: Final = 9

# Stream types
STREAM_REQUEST: Final = 0
STREAM_RESPONSE: Final = 1
STREAM_DOWNSTREAM: Final = 2
STREAM_UPSTREAM: Final = 3

# Metric types
COUNTER: Final = 0
GAUGE: Final = 1
HISTOGRAM: Final = 2

# Log levels
LOG_LEVELS: Final = ("trace", "debug", "info", "warn", "error", "critical")

U32: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Hostcall:
    """One import from `env`. `*` marks an address the host writes to, `:64` an i64.

    Every parameter else is an i32, and so is the result, a status. `versions`: those of the ABI
    that have it; every guest may import it all the same. `types`: the parameters' Wasm types.
    """

    name: str
    parameters: tuple[str, ...]
    versions: tuple[int, ...] = (V0_1_0, V0_2_0, V0_2_1)

    types: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        types = tuple("i64" if name.endswith(":64") else "i32" for name in self.parameters)
        object.__setattr__(self, "types", types)


_HOSTCALLS: Final = """
    proxy_log level message_data message_size
    proxy_get_log_level *level
    proxy_get_status *code *message_data *message_size
    proxy_get_current_time_nanoseconds *time
    proxy_set_tick_period_milliseconds period
    proxy_get_property path_data path_size *value_data *value_size
    proxy_set_property path_data path_size value_data value_size
    proxy_continue_stream stream_type
    proxy_close_stream stream_type
    proxy_continue_request
    proxy_continue_response
    proxy_clear_route_cache
    proxy_get_configuration *configuration_data *configuration_size
    proxy_set_effective_context context_id
    proxy_done
    proxy_send_local_response status details_data details_size body_data body_size headers_data
        headers_size grpc_status
    proxy_get_header_map_size map_type *size
    proxy_get_header_map_pairs map_type *map_data *map_size
    proxy_set_header_map_pairs map_type map_data map_size
    proxy_get_header_map_value map_type key_data key_size *value_data *value_size
    proxy_add_header_map_value map_type key_data key_size value_data value_size
    proxy_replace_header_map_value map_type key_data key_size value_data value_size
    proxy_remove_header_map_value map_type key_data key_size
    proxy_get_buffer_status buffer_type *length *flags
    proxy_get_buffer_bytes buffer_type start max_size *data *size
    proxy_set_buffer_bytes buffer_type start size data data_size
    proxy_define_metric metric_type name_data name_size *metric_id
    proxy_increment_metric metric_id offset:64
    proxy_record_metric metric_id value:64
    proxy_get_metric metric_id *value
    proxy_get_shared_data key_data key_size *value_data *value_size *cas
    proxy_set_shared_data key_data key_size value_data value_size cas
    proxy_register_shared_queue name_data name_size *queue_id
    proxy_resolve_shared_queue vm_id_data vm_id_size name_data name_size *queue_id
    proxy_enqueue_shared_queue queue_id data size
    proxy_dequeue_shared_queue queue_id *data *size
    proxy_call_foreign_function name_data name_size arguments_data arguments_size *results_data
        *results_size
    proxy_http_call upstream_data upstream_size headers_data headers_size body_data body_size
        trailers_data trailers_size timeout *call_id
    proxy_grpc_call upstream_data upstream_size service_data service_size method_data
        method_size metadata_data metadata_size message_data message_size timeout *call_id
    proxy_grpc_stream upstream_data upstream_size service_data service_size method_data
        method_size metadata_data metadata_size *stream_id
    proxy_grpc_send stream_id message_data message_size end_stream
    proxy_grpc_cancel token
    proxy_grpc_close token
"""


def _rows(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """`proxy_name parameter …`, again and again: a row begins at its name."""
    for row in text.split(" proxy_")[1:]:
        name, *parameters = row.split()
        yield f"proxy_{name}", tuple(parameters)


_VERSIONS: Final = {
    "proxy_get_log_level": (V0_2_1,),
    "proxy_continue_stream": (V0_2_0, V0_2_1),
    "proxy_close_stream": (V0_2_0, V0_2_1),
    "proxy_continue_request": (V0_1_0,),
    "proxy_continue_response": (V0_1_0,),
    "proxy_clear_route_cache": (V0_1_0,),
    "proxy_get_configuration": (V0_1_0,),
}


def _hostcalls() -> dict[str, Hostcall]:
    everywhere = (V0_1_0, V0_2_0, V0_2_1)
    return {
        name: Hostcall(name, parameters, _VERSIONS.get(name, everywhere))
        for name, parameters in _rows(_HOSTCALLS)
    }


HOSTCALLS: Final = _hostcalls()


@dataclass(frozen=True, slots=True)
class Callback:
    """One export that the host calls. `arities`: accepted numbers of i32 parameters, newest first.

    `absent` is the result assumed where a module does not export it (or gives no result);
    `returns`: whether the ABI has a result there at all.
    """

    name: str
    parameters: tuple[str, ...]
    absent: int = 0
    arities: tuple[int, ...] = ()
    returns: bool = False


def _callbacks() -> dict[str, Callback]:
    rows = """
    proxy_on_context_create context_id parent_id
    proxy_on_vm_start root_id configuration_size
    proxy_on_configure root_id configuration_size
    proxy_on_tick root_id
    proxy_on_new_connection context_id
    proxy_on_downstream_data context_id size end_of_stream
    proxy_on_upstream_data context_id size end_of_stream
    proxy_on_downstream_connection_close context_id peer_type
    proxy_on_upstream_connection_close context_id peer_type
    proxy_on_request_headers context_id num_headers end_of_stream
    proxy_on_request_metadata context_id num_elements
    proxy_on_request_body context_id body_size end_of_stream
    proxy_on_request_trailers context_id num_trailers
    proxy_on_response_headers context_id num_headers end_of_stream
    proxy_on_response_metadata context_id num_elements
    proxy_on_response_body context_id body_size end_of_stream
    proxy_on_response_trailers context_id num_trailers
    proxy_on_http_call_response root_id call_id num_headers body_size num_trailers
    proxy_on_grpc_receive_initial_metadata root_id token num_elements
    proxy_on_grpc_receive root_id token message_size
    proxy_on_grpc_receive_trailing_metadata root_id token num_elements
    proxy_on_grpc_close root_id token status
    proxy_on_queue_ready root_id queue_id
    proxy_on_foreign_function root_id function_id arguments_size
    proxy_on_done context_id
    proxy_on_log context_id
    proxy_on_delete context_id
    """
    absent = {"proxy_on_vm_start": 1, "proxy_on_configure": 1, "proxy_on_done": 1}
    # ABI 0.1.0 has no end_of_stream here; the export's own type decides, whatever the marker says.
    shorter = {"proxy_on_request_headers": (3, 2), "proxy_on_response_headers": (3, 2)}
    phases = ("request", "response", "downstream", "upstream")
    decides = {f"proxy_on_{phase}_{what}" for phase in phases
               for what in ("headers", "metadata", "body", "trailers", "data")}  # fmt: skip
    decides |= {*absent, "proxy_on_new_connection"}
    table = {}
    for name, parameters in _rows(rows):
        arities = shorter.get(name, (len(parameters),))
        returns = name in decides
        table[name] = Callback(name, parameters, absent.get(name, 0), arities, returns)
    return table


CALLBACKS: Final = _callbacks()

ALLOCATORS: Final = ("proxy_on_memory_allocate", "malloc")
"""In the specification's order: older TinyGo exports both, and its malloc leaks."""

# WASI errno
ERRNO_SUCCESS: Final = 0
ERRNO_BADF: Final = 8
ERRNO_FAULT: Final = 21
ERRNO_INVAL: Final = 28
ERRNO_NOENT: Final = 44
ERRNO_NOSYS: Final = 52
ERRNO_NOTDIR: Final = 20  # POSIX's number, as in Envoy; WASI's is 54
ERRNO_NOTSUP: Final = 58
ERRNO_NOTCAPABLE: Final = 76

WASI_MODULES: Final = ("wasi_snapshot_preview1", "wasi_unstable")


def _wasi() -> dict[str, tuple[str, ...]]:
    # i: i32, I: i64; everything but proc_exit answers with an errno.
    rows = """
    args_get ii|args_sizes_get ii|environ_get ii|environ_sizes_get ii|clock_res_get ii
    clock_time_get iIi|random_get ii|sched_yield|poll_oneoff iiii|proc_exit i
    fd_write iiii|fd_read iiii|fd_close i|fd_seek iIii|fd_advise iIIi|fd_allocate iII|fd_datasync i
    fd_sync i|fd_fdstat_get ii|fd_fdstat_set_flags ii|fd_fdstat_set_rights iII|fd_filestat_get ii
    fd_filestat_set_size iI|fd_filestat_set_times iIIi|fd_pread iiiIi|fd_prestat_get ii
    fd_prestat_dir_name iii|fd_pwrite iiiIi|fd_readdir iiiIi|fd_renumber ii|fd_tell ii
    path_create_directory iii|path_filestat_get iiiii|path_filestat_set_times iiiiIIi
    path_link iiiiiii|path_open iiiiiIIii|path_readlink iiiiii|path_remove_directory iii
    path_rename iiiiii|path_symlink iiiii|path_unlink_file iii|sock_accept iii|sock_recv iiiiii
    sock_send iiiii|sock_shutdown ii
    """
    table = {}
    for row in rows.strip().replace("\n", "|").split("|"):
        name, _, letters = row.strip().partition(" ")
        table[name] = tuple("i64" if letter == "I" else "i32" for letter in letters)
    return table


WASI: Final = _wasi()
