"""How long a filter takes to serve that has been compiled before: run by hand, prints milliseconds.

    python -m tests.perf.second_start FILTER.wasm [--starts 7]

Every start is a new process with the same compile cache. A Go filter of 2.5 MB shall be there
within 50 ms: read and checked ("loaded"), then linked, started and configured ("started").
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from meshproxy.proxy_wasm.config import PluginConfig, VmConfig
from meshproxy.proxy_wasm.plugin import Plugin
from meshproxy.proxy_wasm.services import Services
from meshproxy.proxy_wasm.vm_pool import VmPool
from meshproxy.stats.store import Store
from meshproxy.wasm.code_source import LocalFile
from meshproxy.wasm.engine import Engine, fingerprint
from meshproxy.wasm.module_cache import ModuleCache
from tests.support.fake_stream import FakeDispatcher

STEPS: Final = ("loaded", "started", "both")


def start(path: str, cache: Path) -> dict[str, list[float]]:
    """Milliseconds of this process's start by step: what a clock says, and processor time."""
    engine = Engine(ModuleCache(cache, fingerprint()))
    pool = VmPool(Services(FakeDispatcher(), Store(), engine))
    source = LocalFile(path)
    marks = [(time.perf_counter(), time.process_time())]
    engine.compile(source.load(), path)
    marks.append((time.perf_counter(), time.process_time()))
    Plugin(pool, PluginConfig(VmConfig(source)))
    marks.append((time.perf_counter(), time.process_time()))
    spans = zip(STEPS, ((0, 1), (1, 2), (0, 2)), strict=True)
    return {
        step: [(b - a) * 1e3 for a, b in zip(marks[first], marks[last], strict=True)]
        for step, (first, last) in spans
    }


def main() -> None:
    """Print the first start, which compiles, and the medians of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("filter", help="the module")
    parser.add_argument("--starts", type=int, default=7, help="starts after the first")
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cache is not None:
        print(json.dumps(start(options.filter, options.cache)))
        return
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tests.perf.second_start", options.filter]
        command += ["--cache", str(Path(directory, "wasm"))]
        first, *others = (
            json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            for _ in range(1 + options.starts)
        )
    size = Path(options.filter).stat().st_size / 1e6
    print(f"{size:.1f} MB; compiled and started the first time: {first['both'][0]:.0f} ms")
    print("| step | ms | processor ms |\n|---|---|---|")
    for step in STEPS:
        wall, processor = (median(each[step][which] for each in others) for which in (0, 1))
        print(f"| {step} | {wall:.1f} | {processor:.1f} |")


if __name__ == "__main__":
    main()
