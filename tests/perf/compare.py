"""Measures meshproxy against the real Envoy: requests a second on one core, and resident memory.

    python -m tests.perf.compare [--seconds 4] [--pairs 5] [--case plain] [--svg picture.svg]

Both proxies get the same YAML and are pinned to one core; `wrk` and the upstream share another.
They are measured in turn, so what else happens on the machine hits both. Run by hand: a figure of
a shared machine decides nothing in CI.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from meshproxy.resources import filters_directory
from tests.perf.picture import draw
from tests.support.processes import ProxyProcess
from tests.support.yaml_template import fill

HERE: Final = Path(__file__).parent
PROXIES: Final = ("envoy", "meshproxy")
CASES: Final = ("plain", "wasm", "1mb")
BARS: Final = {"plain": 1.0, "wasm": 0.9, "1mb": 0.8}
TARGETS: Final = {"plain": "/", "wasm": "/", "1mb": "/1mb"}
WARM_UP_S: Final = 1
_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99: Final = re.compile(r"99%\s+([\d.]+)(us|ms|s)")
_ERRORS: Final = re.compile(r"(Non-2xx or 3xx responses|Socket errors): .*")
_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(slots=True)
class Measured:
    """The runs of one case: requests a second of each proxy, in pairs, and memory at the end."""

    case: str
    rates: list[tuple[float, float]] = field(default_factory=list)
    p99_ms: list[tuple[float, float]] = field(default_factory=list)
    rss_bytes: tuple[int, int] = (0, 0)

    @property
    def ratio(self) -> float:
        """The median of meshproxy's rate divided by Envoy's, pair by pair."""
        return median(ours / envoy for envoy, ours in self.rates)


def compile_upstream(directory: Path) -> Path:
    """Build upstream.c with the C compiler of the machine, or with the one from PyPI."""
    compiler = ["cc"] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
    program = directory / "upstream"
    command = [*compiler, "-O2", "-o", str(program), str(HERE / "upstream.c")]
    subprocess.run(command, check=True)
    return program


@contextmanager
def upstream(program: Path, cpu: int) -> Iterator[int]:
    """Run the upstream on one core; yields its port."""
    command = ["taskset", "-c", str(cpu), str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdin is None:
            raise AssertionError("no pipes")
        yield int(process.stdout.readline())
        process.stdin.close()  # ends it


def load(
    port: int, target: str, *, cpu: int, connections: int, seconds: int
) -> tuple[float, float]:
    """Run wrk once: requests a second, and the 99th percentile in ms. Errors end the comparison."""
    command = ["taskset", "-c", str(cpu), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--latency", f"http://127.0.0.1:{port}{target}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate, p99 = _RATE.search(text), _P99.search(text)
    if _ERRORS.search(text) or not rate or not p99:
        raise SystemExit(f"wrk met errors:\n{text}")
    return float(rate[1]), float(p99[1]) * _MS[p99[2]]


def configuration(case: str, port: int) -> str:
    """The YAML that both proxies get."""
    wasm = (HERE / "wasm_filter.yaml").read_text() if case == "wasm" else ""
    wasm = fill(wasm, {"wasm": filters_directory() / "bench_headers.wasm"}) if wasm else ""
    return fill((HERE / "proxy.yaml").read_text(), {"upstream_port": port, "wasm_filter": wasm})


def measure(case: str, port: int, options: argparse.Namespace) -> Measured:
    """All pairs of one case, each printed as soon as it is there."""
    proxy_cpu, load_cpu = options.cpus
    yaml = configuration(case, port)
    result = Measured(case)
    with ExitStack() as stack:
        running = [stack.enter_context(ProxyProcess(kind, yaml, cpu=proxy_cpu)) for kind in PROXIES]

        def run(seconds: int) -> list[tuple[float, float]]:
            return [
                load(
                    proxy.ports["main"],
                    TARGETS[case],
                    cpu=load_cpu,
                    connections=options.connections,
                    seconds=seconds,
                )
                for proxy in running
            ]

        run(WARM_UP_S)
        for number in range(1, options.pairs + 1):
            (envoy, envoy_p99), (ours, ours_p99) = run(options.seconds)
            result.rates.append((envoy, ours))
            result.p99_ms.append((envoy_p99, ours_p99))
            print(
                f"| {case} | {number} | {envoy:,.0f} | {ours:,.0f} | {ours / envoy:.2f} "
                f"| {envoy_p99:.2f} | {ours_p99:.2f} |",
                flush=True,
            )
        result.rss_bytes = (running[0].rss_bytes(), running[1].rss_bytes())
    return result


def print_summary(results: Sequence[Measured]) -> None:
    """The table for the README."""
    print(
        "\n| case | Envoy, requests/s | meshproxy, requests/s | median ratio | at least |", end=""
    )
    print(" Envoy, MB | meshproxy, MB |")
    print("|---|---|---|---|---|---|---|")
    for result in results:
        envoy, ours = (median(rates) for rates in zip(*result.rates, strict=True))
        envoy_mb, ours_mb = (size / 1e6 for size in result.rss_bytes)
        print(
            f"| {result.case} | {envoy:,.0f} | {ours:,.0f} | {result.ratio:.2f} "
            f"| {BARS[result.case]} | {envoy_mb:.0f} | {ours_mb:.0f} |"
        )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `cpus` becomes (proxy's core, load's core)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=4, help="length of one run")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each proxy")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--case", choices=CASES, action="append", help="only this (repeatable)")
    parser.add_argument("--svg", type=Path, help="draw the medians into this file")
    options = parser.parse_args(arguments)
    options.cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(options.cpus) < 2:
        parser.error("needs two cores: one for the proxy, one for load and upstream")
    for program in ("wrk", "taskset"):
        if not shutil.which(program):
            parser.error(f"{program} is not installed (Debian: apt-get install wrk util-linux)")
    return options


def main() -> None:
    """Compare and print."""
    options = parse_arguments()
    print("| case | pair | Envoy, requests/s | meshproxy, requests/s | ratio |", end="")
    print(" Envoy p99, ms | meshproxy p99, ms |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        program = compile_upstream(Path(directory))
        with upstream(program, options.cpus[1]) as port:
            results = [measure(case, port, options) for case in options.case or CASES]
    print_summary(results)
    if options.svg:
        options.svg.write_text(draw({result.case: result.ratio for result in results}, BARS))


if __name__ == "__main__":
    main()
