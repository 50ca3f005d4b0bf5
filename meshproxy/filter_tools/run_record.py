"""One request through filters, as a value: everything that the reports tell.

Owns what is kept. Refuses to run (`commands/running.py`) and to print (`report.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshproxy.filter_tools.callouts import Callout
from meshproxy.filter_tools.grpc_callouts import GrpcCallout
from meshproxy.filter_tools.http_stream import HttpStream
from meshproxy.filter_tools.loaded_filter import Trap
from meshproxy.filter_tools.logs import LogLine


@dataclass(frozen=True, slots=True)
class Run:
    """What happened. `paused`: "request" or "response" where a filter still held it back."""

    file: str
    stream: HttpStream
    paused: str
    logs: Sequence[LogLine]
    metrics: dict[str, int]
    callouts: Sequence[Callout]
    grpc_callouts: Sequence[GrpcCallout]
    traps: Sequence[Trap]
