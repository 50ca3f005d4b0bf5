"""How a client fares while another one floods the proxy with HTTP/2: by hand, prints a table.

    python -m tests.perf.floods [--seconds 3] [--flood NAME ...]

The client sends requests at a fixed rate and waits for each; the flooder, a process of its own with
the lowest priority, begins its flood anew on a new connection whenever the proxy has ended one. The
client's 99th percentile shall be at most doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.perf.trap_storm import answers
from tests.support.http2_floods import FLOODS, flood_configuration
from tests.support.http2_frames import START
from tests.support.processes import ProxyProcess

RATE: Final = 500
TURNS: Final = 400
FRAMES: Final = 100
PIECE: Final = 16384


def flood(name: str, port: int, cpu: int, count: multiprocessing.sharedctypes.Synchronized) -> None:
    """Flood for ever; `count` says how often the proxy has ended a connection."""
    os.sched_setaffinity(0, [cpu])
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(19)
    first, more = FLOODS[name]
    turns = [b"".join(more(turn * FRAMES + n) for n in range(FRAMES)) for turn in range(TURNS)]
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(START + first)
            for turn in turns:
                # Not at once: what the system copies in one call keeps the client from its core.
                for at in range(0, len(turn), PIECE):
                    sock.sendall(turn[at : at + PIECE])
            while sock.recv(65536):
                pass
        count.value += 1


def watch(port: int, cpu: int, seconds: int) -> list[int]:
    """Microseconds of every answer that a client got meanwhile, ascending."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        command = [
            "taskset", "-c", str(cpu), "h2load", "-t1", "-c1", "-m1", f"-D{seconds}",
            f"--rps={RATE}", f"--log-file={log}", f"http://127.0.0.1:{port}/",
        ]  # fmt: skip
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seen = answers(log)
    times = seen.pop("200")
    if seen:
        raise SystemExit(f"the client was answered with {sorted(seen)}")
    return times


def measure(port: int, name: str, options: argparse.Namespace) -> tuple[list[int], int]:
    """The client's times under this flood (none if empty), and how many connections it took."""
    cpu = options.cpus[1]
    if not name:
        return watch(port, cpu, options.seconds), 0
    context = multiprocessing.get_context("spawn")
    count = context.Value("i", 0)
    flooder = context.Process(target=flood, args=(name, port, cpu, count), daemon=True)
    flooder.start()
    try:
        while not count.value:
            flooder.join(0.01)
        before = count.value
        times = watch(port, cpu, options.seconds)
        return times, count.value - before
    finally:
        flooder.kill()
        flooder.join()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `cpus` becomes (proxy's core, everybody else's core)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=3, help="length of one run")
    parser.add_argument("--flood", nargs="*", choices=list(FLOODS), default=list(FLOODS))
    options = parser.parse_args(arguments)
    options.cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(options.cpus) < 2:
        parser.error("needs two cores: one for the proxy, one for its clients")
    return options


def main() -> None:
    """Print the table."""
    options = parse_arguments()
    print("| flood | connections/s | p50, us | p99, us | p99 / calm |\n|---|---|---|---|---|")
    calm = 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yaml = flood_configuration(silent.getsockname()[1])
        with ProxyProcess("meshproxy", yaml, cpu=options.cpus[0], log_level="off") as proxy:
            for name in ("", *options.flood):
                times, ended = measure(proxy.ports["main"], name, options)
                median, p99 = (times[int(len(times) * part)] for part in (0.5, 0.99))
                calm = calm or p99
                rate = f"{ended / options.seconds:.1f}" if name else "-"
                print(f"| {name or 'none'} | {rate} | {median} | {p99} | {p99 / calm:.1f} |",
                      flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
