"""The friendly profile: no status on which the Rust SDK panics, in any phase.

The SDK's `hostcalls.rs` panics on every status that it does not expect of a call.
"""

import re

import pytest

from meshproxy.proxy_wasm.abi import V0_2_1
from tests.conformance import cases
from tests.conformance.cases import Case
from tests.conformance.conftest import Pairs
from tests.conformance.harness import Plugin, request

# Hostcall: the statuses that are no panic, and the arguments that the SDK can give at all.
EXPECTED = {
    "proxy_get_header_map_value": ({0, 1}, r"[0-7]\|"),
    "proxy_add_header_map_value": ({0}, r"[0-3]\|"),
    "proxy_replace_header_map_value": ({0}, r"[0-3]\|"),
    "proxy_remove_header_map_value": ({0}, r"[0-3]\|"),
    "proxy_get_header_map_pairs": ({0}, "[0-7]"),
    "proxy_set_header_map_pairs": ({0}, r"[0-3]\|"),
    "proxy_get_buffer_bytes": ({0, 1}, r"[0-8]\|"),
    "proxy_set_buffer_bytes": ({0}, r"[01]\|"),
    "proxy_get_property": ({0, 1, 3, 10}, ""),
    "proxy_set_property": ({0}, ""),
    "proxy_get_shared_data": ({0, 1}, ""),
    "proxy_set_shared_data": ({0, 8}, ""),
    "proxy_resolve_shared_queue": ({0, 1}, ""),
    "proxy_enqueue_shared_queue": ({0, 1}, ""),
    "proxy_dequeue_shared_queue": ({0, 1, 7}, ""),
    "proxy_register_shared_queue": ({0}, ""),
    "proxy_set_tick_period_milliseconds": ({0}, ""),
    "proxy_get_current_time_nanoseconds": ({0}, ""),
    "proxy_get_log_level": ({0}, ""),
    "proxy_get_status": ({0}, ""),
    "proxy_define_metric": ({0}, "[0-2]"),
    "proxy_increment_metric": ({0, 1, 2}, ""),
    "proxy_get_metric": ({0, 1, 2}, ""),
    "proxy_http_call": ({0, 2, 10}, ""),
    "proxy_grpc_call": ({0, 4, 10}, ""),
    "proxy_grpc_stream": ({0, 4, 10}, ""),
    "proxy_grpc_send": ({0, 1, 2}, ""),
    "proxy_call_foreign_function": ({0, 1, 2, 3, 10}, ""),
    "proxy_set_effective_context": ({0, 2}, ""),
    "proxy_send_local_response": ({0}, ""),
    "proxy_continue_stream": ({0}, "[01]"),
    "proxy_close_stream": ({0}, "[01]"),
}
_LINE = re.compile(r"probe \w+ (proxy_\w+)\((.*?)\) (\d+)")
EVERY = [*cases.sweeps(V0_2_1), *cases.decisions(V0_2_1)]


@pytest.mark.parametrize("phase", [*cases.STREAM_PHASES, *cases.ASYNCHRONOUS])
def test_no_status_is_one_that_an_sdk_panics_on(pairs: Pairs, phase: str):
    side = pairs.alone(Plugin(compat="friendly"))
    seen = [answered(side, case) for case in EVERY if case.phase == phase]
    lines = [line for every in seen for line in every]
    assert len(lines) > 200
    wrong = []
    for line in lines:
        name, arguments, status = _LINE.match(line).groups()
        allowed, pattern = EXPECTED.get(name, (None, ""))
        if allowed is not None and re.match(pattern, arguments) and int(status) not in allowed:
            wrong.append(line)
    assert not wrong, "\n".join(["", *wrong])


def answered(side, case: Case) -> list[str]:
    lines = side.run(request(case.text), extra=case.extra).lines
    return [line for line in lines if _LINE.match(line)]
