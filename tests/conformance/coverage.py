"""Which hostcalls are compared with Envoy in which phases, as a table made from `abi.py`.

`python -m tests.conformance.coverage` prints it as Markdown.
"""

from __future__ import annotations

import sys
from typing import Final

from meshproxy.proxy_wasm.abi import HOSTCALLS
from tests.conformance import cases

PHASES: Final = {
    "root_create": "proxy_on_context_create",
    "context_create": "proxy_on_context_create",
    "vm_start": "proxy_on_vm_start",
    "configure": "proxy_on_configure",
    "request_headers": "proxy_on_request_headers",
    "request_body": "proxy_on_request_body",
    "request_metadata": "proxy_on_request_metadata",
    "request_trailers": "proxy_on_request_trailers",
    "response_headers": "proxy_on_response_headers",
    "response_body": "proxy_on_response_body",
    "response_metadata": "proxy_on_response_metadata",
    "response_trailers": "proxy_on_response_trailers",
    "http_call_response": "proxy_on_http_call_response",
    "tick": "proxy_on_tick",
    "queue_ready": "proxy_on_queue_ready",
    "grpc_receive_initial_metadata": "proxy_on_grpc_receive_initial_metadata",
    "grpc_receive": "proxy_on_grpc_receive",
    "grpc_receive_trailing_metadata": "proxy_on_grpc_receive_trailing_metadata",
    "grpc_close": "proxy_on_grpc_close",
    "log": "proxy_on_log",
    "done": "proxy_on_done",
    "delete": "proxy_on_delete",
    "root_done": "proxy_on_done",
    "root_delete": "proxy_on_delete",
    "new_connection": "proxy_on_new_connection",
    "downstream_data": "proxy_on_downstream_data",
    "upstream_data": "proxy_on_upstream_data",
    "downstream_connection_close": "proxy_on_downstream_connection_close",
    "upstream_connection_close": "proxy_on_upstream_connection_close",
}
"""The probe's phases and the callbacks they are."""

ELSEWHERE: Final = {
    "proxy_on_foreign_function": "it is for the program that Envoy is built into: nothing of Envoy"
    " calls it, and no hostcall, filter or configuration leads there",
}
"""Callbacks that have no column, and why."""


def covered() -> dict[str, set[str]]:
    """The phases in which each hostcall is compared."""
    found: dict[str, set[str]] = {name: set() for name in HOSTCALLS}
    for version in cases.VERSIONS.values():
        for case in (*cases.sweeps(version), *cases.decisions(version)):
            for name in case.hostcalls:
                found[name].add(case.phase)
        for case in cases.metadata_sweeps(version):
            for name in case.hostcalls:
                found[name].add(case.phase)
        for phase, program in cases.network_sweeps(version):
            for command in program:
                found[command.partition("|")[0]].add(phase)
        for programs in cases.root_programs(version):
            for phase, commands in programs.items():
                for command in commands:
                    found[command.partition("|")[0]].add(phase)
    return found


def table() -> str:
    """Markdown: a row for each hostcall, a column for each phase."""
    rows = [f"| hostcall | {' | '.join(PHASES)} |", "|---" * (len(PHASES) + 1) + "|"]
    for name, phases in covered().items():
        marks = ("x" if phase in phases else " " for phase in PHASES)
        rows.append(f"| `{name}` | {' | '.join(marks)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
