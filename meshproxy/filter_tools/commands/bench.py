"""`meshproxy filter bench FILE`: how fast a filter is, phase by phase, with no network.

Owns how long is measured, and the table. Timing is `measuring.py`'s.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meshproxy.filter_tools.commands import CommandError
from meshproxy.filter_tools.commands.arguments import (
    Parser,
    add_file,
    add_plugin,
    add_request,
    load,
    seconds_up_to_a_day,
)
from meshproxy.filter_tools.commands.running import answer_from_upstream, script, send
from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.loaded_filter import LoadedFilter
from meshproxy.filter_tools.measuring import Phase, Stopwatch
from meshproxy.filter_tools.table import amount, table

DESCRIPTION = """\
Sends the same request through a filter again and again, on one core and with no network, and shows
what its callbacks take: host and guest together, with what they set off (a local response).
Requests a second is what one core could do if it did nothing else. The filter sees 1 ms pass from
one to the next."""
WARM_UP: Final = 200
MAX_ROUNDS: Final = 1_000_000
PAUSE: Final = 0.001
"""Seconds of the fake clock between two requests: ticks come, and buckets fill."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures. Times in seconds; memory in bytes of the guest, before and after."""

    requests: int
    per_request: float
    memory_before: int
    memory_after: int
    phases: list[Phase]


def run(arguments: Sequence[str]) -> int:
    """Measure and print. Raises CommandError where the filter traps."""
    parser = Parser("bench", DESCRIPTION)
    add_file(parser)
    add_plugin(parser)
    add_request(parser)
    parser.add_argument("--seconds", type=seconds_up_to_a_day, default=2.0, metavar="SECONDS",
                        help="how long to measure (2)")  # fmt: skip
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(list(arguments))
    routes = dict(options.route) or None
    with FilterHarness(routes=routes, propagate_logs=False, log_level="critical") as harness:
        found = measure(harness, load(harness, options), options)
    if options.format == "json":
        document = {**dataclasses.asdict(found), "requests_per_second": 1 / found.per_request}
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(as_text(options.file, found)))
    return 0


def measure(harness: FilterHarness, loaded: LoadedFilter, options: argparse.Namespace) -> Measured:
    """Send requests until the time is up, at least one."""
    script(harness, options)
    vm = loaded.plugin.vm
    assert vm is not None, "a filter that has just been started has a VM"
    watch = Stopwatch()
    watch.attach(vm)
    for _ in range(WARM_UP):
        _one(loaded, options)
    vm.memory.refresh()
    before = vm.memory.size
    watch.clear()
    until = time.monotonic() + options.seconds
    rounds = 0
    while rounds < MAX_ROUNDS:
        _one(loaded, options)
        rounds += 1
        if time.monotonic() >= until:
            break
    vm.memory.refresh()
    phases = watch.phases()
    total = sum(phase.total for phase in phases)
    if not total:
        raise CommandError(f"{options.file} has no callback for a request")
    return Measured(rounds, total / rounds, before, vm.memory.size, phases)


def _one(loaded: LoadedFilter, options: argparse.Namespace) -> None:
    stream = loaded.stream(source=options.source or "")
    send(stream, options)
    answer_from_upstream(stream, options)
    stream.disconnect()
    loaded.advance(PAUSE)
    loaded.callouts.clear()
    loaded.grpc_callouts.clear()
    if loaded.traps:
        raise CommandError(f"the filter trapped: {loaded.traps[0].reason}")


def as_text(file: str, found: Measured) -> Iterator[str]:
    """The table."""
    yield f"{file}: {found.requests:,} requests"
    yield ""
    rows = [("", "calls a request", "p50 us", "p99 us", "mean us")]
    for phase in found.phases:
        calls = f"{phase.calls / found.requests:.3g}"
        rows.append((phase.name, calls, _us(phase.p50), _us(phase.p99), _us(phase.mean)))
    widths = [max(len(row[at]) for row in rows) for at in range(1, 5)]
    yield from table(
        (row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True)))
        for row in rows
    )
    yield ""
    yield f"{_us(found.per_request)} us a request, {1 / found.per_request:,.0f} requests/s"
    grown = found.memory_after - found.memory_before
    per_request = f", {amount(grown // found.requests)} a request" if grown else ""
    yield f"memory {amount(found.memory_after)}, grown by {amount(grown)}{per_request}"


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.2f}"
