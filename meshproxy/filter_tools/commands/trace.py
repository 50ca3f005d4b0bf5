"""`meshproxy filter trace FILE`: every hostcall and callback of one request, as Envoy prints them.

Owns the printing. The steps are `proxy_wasm/trace.py`'s, and so are their lines.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from meshproxy.filter_tools.commands import stop_printing
from meshproxy.filter_tools.commands.arguments import (
    Parser,
    add_file,
    add_plugin,
    add_request,
    harness_of,
)
from meshproxy.filter_tools.commands.running import run_request
from meshproxy.filter_tools.step_texts import StepTexts
from meshproxy.proxy_wasm.trace import Step
from meshproxy.proxy_wasm.vm import Vm

DESCRIPTION = """\
Sends one request through a filter with no network, and prints every call between host and filter
as Envoy does at `--component-log-level wasm:trace`. Exits 1 where the filter cannot be started, or
traps."""


def run(arguments: Sequence[str]) -> int:
    """Print the steps as they happen."""
    parser = Parser("trace", DESCRIPTION)
    add_file(parser, "the .wasm, or an Envoy configuration: its Wasm filters, its routes")
    add_plugin(parser)
    add_request(parser)
    parser.add_argument("--texts", action="store_true",
                        help="below a call: what its pointers point at")  # fmt: skip
    options = parser.parse_args(list(arguments))
    texts = StepTexts()

    def told(vm: Vm, step: Step) -> None:
        try:
            print(step)
            if options.texts:
                for line in texts.of(vm, step):
                    print(f"    {line}")
        except BrokenPipeError:
            stop_printing()  # raised from here it would end in the filter, as a trap

    with harness_of(options, trace=told) as harness:
        found = run_request(harness, options)
    for trap in found.traps:
        print(f"error: the filter trapped: {trap.reason}", file=sys.stderr)
        for frame in trap.backtrace:
            print(f"    at {frame}", file=sys.stderr)
    return int(bool(found.traps))
