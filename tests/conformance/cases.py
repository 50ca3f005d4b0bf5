"""Every case of the comparison: which program in which phase, and how the phase is brought about.

Owns the lists that tests and the coverage table are made from. Refuses to run anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from meshproxy.proxy_wasm.abi import V0_1_0, V0_2_0, V0_2_1
from tests.conformance.commands import (
    CALL_HEADERS,
    CHANGING,
    DECIDING,
    PAIRS,
    READING,
    commands,
    programs,
)
from tests.conformance.probe import imports

STREAM_PHASES: Final = (
    "request_headers", "request_body", "request_trailers", "response_headers", "response_body",
    "response_trailers", "log", "done", "delete",
)  # fmt: skip
"""Brought about by any request with body and trailers."""

ASYNCHRONOUS: Final = {
    "tick": "proxy_set_tick_period_milliseconds|20",
    "queue_ready": "proxy_register_shared_queue|queue;proxy_enqueue_shared_queue|$|item",
    "http_call_response": f"proxy_http_call|up|{CALL_HEADERS}|||1000",
    **dict.fromkeys(
        (
            "grpc_receive_initial_metadata",
            "grpc_receive",
            "grpc_receive_trailing_metadata",
            "grpc_close",
        ),
        "proxy_grpc_stream|grpc|pkg.Greeter|Chat|;proxy_grpc_send|$|one|1",
    ),
}
"""Brought about by what a request's headers callback has asked for, some time later."""

ROOT_PHASES: Final = ("root_create", "vm_start", "configure", "context_create", "root_done",
                      "root_delete")  # fmt: skip
"""Brought about by start, first stream and end of a plugin."""

VERSIONS: Final = {"0.1.0": V0_1_0, "0.2.0": V0_2_0, "0.2.1": V0_2_1}
_COMMAND: Final = re.compile(r"[=;]!?(\w+)")


@dataclass(frozen=True, slots=True)
class Case:
    """One program in one phase. `setup` is what the request's headers callback does first; the
    stream then waits for the phase `end`.
    """

    version: int
    phase: str
    program: str
    setup: str = ""
    end: str = ""

    @property
    def text(self) -> str:
        """The header `x-probe`."""
        if not self.setup:
            return self.program
        # The stream waits, so that it is there when its phase comes, and then goes on.
        go_on = "proxy_continue_request" if self.version == V0_1_0 else "proxy_continue_stream|0"
        end = f"{self.end}=proxy_set_effective_context|@;{go_on}"
        return f"request_headers={self.setup};return|1^{self.program}^{end}"

    @property
    def extra(self) -> tuple[str, int]:
        """Of a phase that comes at a time of its own: its name, and the number of its lines."""
        if not self.setup:
            return "", 0
        return self.phase, self.program.count(";") + (4 if self.phase == self.end else 2)

    @property
    def hostcalls(self) -> set[str]:
        """The hostcalls that it makes in its phase."""
        return set(_COMMAND.findall(self.program)) - {"return"}

    def __str__(self) -> str:
        number = next(name for name, version in VERSIONS.items() if version == self.version)
        return f"{number} {self.phase} {self.program.split('=', 1)[1][:40]}"


def sweeps(version: int) -> Iterator[Case]:
    """Every hostcall that leaves the stream alone, in every phase of a stream and of its calls."""
    names = frozenset(imports(version))
    for table in (READING, CHANGING):
        for phase in STREAM_PHASES:
            for program in programs(phase, table, names):
                yield Case(version, phase, program)
        for phase, setup in ASYNCHRONOUS.items():
            for program in programs(phase, table, names):
                # After every other callback of its call: the next case shall not see one.
                end = "grpc_close" if phase.startswith("grpc_") else phase
                yield Case(version, phase, program, setup, end)


def root_programs(version: int) -> Iterator[dict[str, list[str]]]:
    """For one start of a plugin each: the commands of every root phase."""
    names = frozenset(imports(version))
    for table in (READING, CHANGING):
        yield dict.fromkeys(ROOT_PHASES, commands(table, names))
    deciding = {name: DECIDING[name] for name in DECIDING if "map" not in name}
    none: dict[str, list[str]] = {phase: [] for phase in ROOT_PHASES}
    yield none | {
        phase: commands(deciding, names) for phase in ("root_create", "vm_start", "configure")
    }


NETWORK_PHASES: Final = (
    "new_connection", "downstream_data", "upstream_data", "upstream_connection_close",
    "downstream_connection_close",
)  # fmt: skip


def network_sweeps(version: int) -> Iterator[tuple[str, list[str]]]:
    """Every hostcall that leaves the connection alone, in every phase of a connection."""
    names = frozenset(imports(version))
    for table in (READING, CHANGING):
        for phase in NETWORK_PHASES:
            yield phase, commands(table, names)


METADATA_PHASES: Final = ("request_metadata", "response_metadata")
"""Brought about by METADATA of HTTP/2."""


def metadata_sweeps(version: int) -> Iterator[Case]:
    """Every hostcall that leaves the stream alone, where a filter is told of METADATA."""
    names = frozenset(imports(version))
    for table in (READING, CHANGING):
        for phase in METADATA_PHASES:
            for program in programs(phase, table, names):
                yield Case(version, phase, program)


# What Envoy 1.40 does not survive, or answers with bytes that are no HTTP; test_decisions.py says
# what meshproxy does.
_TOO_EARLY: Final = ("request_headers", "request_body", "request_trailers")
_RESPONSE: Final = ("response_headers", "response_trailers")
_OVER: Final = ("log", "done", "delete")
ENVOY_BREAKS: Final = {
    *((phase, "proxy_continue_stream|1") for phase in (*_TOO_EARLY, *_RESPONSE)),
    *((phase, "proxy_continue_response") for phase in (*_TOO_EARLY, *_RESPONSE)),
    *(
        (phase, f"proxy_close_stream|{n}")
        for phase in ("response_trailers", *_OVER)
        for n in (0, 1)
    ),
    *((phase, "proxy_send_local_response|418|why not|tea||-1") for phase in _OVER),
    ("response_headers", "proxy_continue_stream|0"),  # the request's end goes upstream twice
    ("response_headers", "proxy_continue_request"),
    ("response_body", "proxy_continue_stream|1"),
    ("response_body", "proxy_continue_response"),
}
# What Envoy lets through to a peer that cannot read it; meshproxy leaves it out, or makes it good.
MALFORMED: Final = {
    ("request_headers", "proxy_replace_header_map_value|0|bad name|1"),
    ("request_headers", "proxy_replace_header_map_value|0|x-a|b%0D%0Ac"),
    ("request_headers", "proxy_remove_header_map_value|0|:authority"),
    ("request_headers", "proxy_add_header_map_value|0||empty"),
    ("request_trailers", f"proxy_set_header_map_pairs|1|{PAIRS}"),
    ("response_headers", "proxy_replace_header_map_value|2|:status|99"),
    ("response_trailers", f"proxy_set_header_map_pairs|3|{PAIRS}"),
}


# Where a map or a body can be open, and one phase where it cannot.
_MAP_PHASES: Final = {
    "0": ("request_headers", "request_body", "response_headers"),
    "1": ("request_body", "request_trailers", "response_body"),
    "2": ("response_headers", "response_body", "log"),
    "3": ("response_body", "response_trailers", "log"),
}
_BODY_PHASES: Final = {
    "0": ("request_headers", "request_body"),
    "1": ("response_headers", "response_body"),
}


def _where(command: str) -> tuple[str, ...]:
    name, _, arguments = command.partition("|")
    kind = arguments.partition("|")[0]
    if "header_map" in name:
        return _MAP_PHASES.get(kind, ("request_headers", "log"))
    return _BODY_PHASES[kind] if "buffer" in name else STREAM_PHASES


def decisions(version: int) -> Iterator[Case]:
    """Every hostcall after which the stream goes on differently, alone, in each of its phases."""
    names = frozenset(imports(version))
    for command in commands(DECIDING, names):
        for phase in _where(command):
            yield Case(version, phase, f"{phase}={command}")
