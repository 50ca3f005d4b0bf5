"""How a route fares while another one's filter traps: run by hand, prints a table.

    python -m tests.perf.trap_storm [--seconds 5] [--rate 10000]

Three times the same rate goes to a second route: none, with a filter that does nothing, and with
one that traps whenever it is called. The first route's 99th percentile shall be at most doubled by
the traps; what so many requests cost the proxy's only thread is in the second line as well. Each is
measured `--rounds` times in turn, and the median is shown: other work comes and goes.

All requests come from one process, each when chance says so (`open_loop.c`): a generator that sends
the requests of all its connections at once measures how long the last of them waits for the others,
and two generators on one core measure each other.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wasmtime import wat2wasm

from tests.parity.config import bootstrap, extension, listener, virtual_host
from tests.perf.cases import HERE
from tests.perf.compare import compile_c
from tests.support.processes import ProxyProcess
from tests.support.wat_filter import filter_text

WASM: Final = "envoy.extensions.filters.http.wasm.v3.Wasm"
OFF: Final = {
    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
    "disabled": True,
}
BODIES: Final = {"quiet": "", "trap": "unreachable"}
PATHS: Final = ("", "quiet", "trap")
WATCHED: Final = ("/watched", "500", "8")
CONNECTIONS: Final = "64"


def configuration() -> str:
    """`/watched` has the filter `quiet`, as has `/quiet`; `/trap` has the other one."""
    filters = [extension(name, WASM, config=plugin(name, body)) for name, body in BODIES.items()]
    routes: list[dict[str, Any]] = [
        {
            "match": {"path": f"/{path}"},
            "direct_response": {"status": 200},
            "typed_per_filter_config": {off: OFF},
        }
        for path, off in (("watched", "trap"), ("quiet", "trap"), ("trap", "quiet"))
    ]
    hosts = virtual_host("\n".join(f"- {json.dumps(route)}" for route in routes))
    # Without a log: its text takes as long as everything else that such a request needs.
    unlogged = listener("main", hosts, options="access_log: []", http_filters=filters)
    return bootstrap([unlogged], [])


def plugin(name: str, body: str) -> dict[str, Any]:
    """One that does this for every request."""
    code = wat2wasm(
        filter_text(
            f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              {body} (i32.const 0))"""
        )
    )
    local = {"local": {"inline_bytes": base64.b64encode(code).decode()}}
    vm = {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": local}
    return {"name": name, "vm_config": vm}


def answers(text: str) -> dict[str, dict[str, list[int]]]:
    """Microseconds of every answer, ascending, by path and status."""
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for line in text.splitlines():
        path, status, took = line.split()
        found[path][status].append(int(took))
    return {
        path: {status: sorted(times) for status, times in by_status.items()}
        for path, by_status in found.items()
    }


@dataclass(frozen=True, slots=True)
class Round:
    """What the watched route got (microseconds) while a path had its load.

    `busy`: the proxy's share of its core.
    """

    load: str
    traps: int
    busy: float
    median: int
    p99: int


def measure(proxy: ProxyProcess, path: str, generator: Path, options: argparse.Namespace) -> Round:
    """One run with this path loaded."""
    command = ["taskset", "-c", str(options.cpus[1]), str(generator), str(proxy.ports["main"])]
    command += [str(options.seconds), *WATCHED]
    if path:
        command += [f"/{path}", str(options.rate), CONNECTIONS]
    before, began = proxy.counters(), proxy.cpu_seconds()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    busy = (proxy.cpu_seconds() - began) / options.seconds
    traps = proxy.counters()["wasm.trap.traps"] - before["wasm.trap.traps"]
    seen = answers(done.stdout)
    watched = seen[WATCHED[0]]
    times = watched.pop("200")
    if watched:
        raise SystemExit(f"the watched route was answered with {sorted(watched)}")
    of_load = ", ".join(f"{len(each) / options.seconds:,.0f} of {status}" for status, each in
                        sorted(seen.get(f"/{path}", {}).items()))  # fmt: skip
    median, p99 = (times[int(len(times) * part)] for part in (0.5, 0.99))
    return Round(of_load or "-", traps, busy, median, p99)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `cpus` becomes (proxy's core, load's core)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=5, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each load")
    parser.add_argument("--rate", type=int, default=10_000, help="requests a second that trap")
    options = parser.parse_args(arguments)
    options.cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(options.cpus) < 2:
        parser.error("needs two cores: one for the proxy, one for the load")
    return options


def main() -> None:
    """Print the table."""
    options = parse_arguments()
    print(
        "| load beside | answers/s | VMs that trapped | busy | p50, us | p99, us | p99 / calm |\n"
        "|---|---|---|---|---|---|---|"
    )
    found: dict[str, list[Round]] = {path: [] for path in PATHS}
    proxy = ProxyProcess("meshproxy", configuration(), cpu=options.cpus[0], log_level="off")
    with proxy, tempfile.TemporaryDirectory() as directory:
        generator = compile_c(HERE / "open_loop.c", Path(directory))
        for _ in range(options.rounds):
            for path in PATHS:
                found[path].append(measure(proxy, path, generator, options))
    calm = statistics.median(each.p99 for each in found[""])
    for path, rounds in found.items():
        busy, p50, p99 = (statistics.median(getattr(each, name) for each in rounds) for name in
                          ("busy", "median", "p99"))  # fmt: skip
        last = rounds[-1]
        print(f"| {path or 'nothing'} | {last.load} | {last.traps} | {busy:.0%} | {p50} | {p99} "
              f"| {p99 / calm:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
