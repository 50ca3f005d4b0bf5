"""How a client fares while another one floods the proxy with HTTP/2: by hand, prints a table.

    python -m tests.perf.floods [--seconds 2] [--pairs 5] [--flood NAME ...]

The client sends requests at a fixed rate and waits for each; the flooder, a process of its own that
runs when nobody else does, begins its flood anew on a new connection whenever the proxy has ended
one. The client's 99th percentile shall be at most doubled.

Each figure is the median of several ratios, each of a run with the flood and one without, just
before it: the machine is not the same from minute to minute. Two more say what they are worth:

    flooder alone   the same flooder at work against a sink, which only reads: what it takes from
                    the client, with whom it shares a core
    Envoy           the same floods and the same YAML; "not closed" where a connection is left open
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.http2_floods import FLOODS, flood_configuration
from tests.support.http2_frames import START
from tests.support.processes import ProxyProcess

RATE: Final = 500
TURNS: Final = 400
FRAMES: Final = 100
PIECE: Final = 16384
PATIENCE_S: Final = 30.0
"""How long a flood may go on before it counts as one that is not ended."""

_CONTEXT: Final = multiprocessing.get_context("spawn")


def _stand_back(cpu: int) -> None:
    """Run on this core, and only when nobody else wants to.

    A low priority is not enough: the client would wait for the end of the flooder's slice of time,
    3 ms, which shows as the proxy's where connections end and begin often.
    """
    os.sched_setaffinity(0, [cpu])
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def flood(name: str, port: int, cpu: int, count: Any) -> None:
    """Flood for ever; `count` says how often the proxy has ended a connection, -1: it begins."""
    first, more = FLOODS[name]
    turns = [b"".join(more(turn * FRAMES + n) for n in range(FRAMES)) for turn in range(TURNS)]
    _stand_back(cpu)
    count.value = 0
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


def sink(cpu: int, port: Any) -> None:
    """Take connections one after another, and read what comes for as long as somebody sends."""
    _stand_back(cpu)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port.value = server.getsockname()[1]
        while True:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(0.05)  # then the flooder has sent everything, and waits for the end
                with contextlib.suppress(OSError):
                    while peer.recv(1 << 20):
                        pass


@contextlib.contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Run a function in a process of its own meanwhile."""
    running = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    running.start()
    try:
        yield
    finally:
        running.kill()
        running.join()


def becomes(condition: Callable[[], bool]) -> bool:
    """Wait until it holds; False: it did not in time."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def watch(port: int, cpu: int, seconds: int) -> list[int]:
    """Microseconds of every answer that a client got meanwhile, ascending."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        command = [
            "taskset", "-c", str(cpu), "h2load", "-t1", "-c1", "-m1", f"-D{seconds}",
            f"--rps={RATE}", f"--log-file={log}", f"http://127.0.0.1:{port}/",
        ]  # fmt: skip
        subprocess.run(
            command, stdout=subprocess.DEVNULL, check=True, timeout=seconds + 2 * PATIENCE_S
        )
        answers = [line.split("\t")[1:] for line in log.read_text().splitlines()]
    statuses = {status for status, _ in answers}
    if statuses != {"200"}:
        raise SystemExit(f"the client was answered with {sorted(statuses) or 'nothing'}")
    return sorted(int(took) for _, took in answers)


def p99(times: Sequence[int]) -> int:
    """The 99th percentile of an ascending list."""
    return times[int(len(times) * 0.99)]


class Bench:
    """One proxy under one flood after another."""

    def __init__(self, port: int, options: argparse.Namespace) -> None:
        self.port = port
        self.options = options
        self.cpu: int = options.cpus[1]

    def ratio(self, name: str, target: int) -> tuple[float, float, float] | None:
        """Medians of p99 in calm (us), p99 with a flood at port `target` by that, and connections
        ended a second. None: the first connection is not ended.
        """
        calm, ratios, rates = [], [], []
        for _ in range(self.options.pairs):
            calm.append(p99(self.watch()))
            count = _CONTEXT.Value("i", -1)
            with process(flood, name, target, self.cpu, count):
                becomes(lambda count=count: count.value >= 0)
                if not becomes(lambda count=count: count.value > 0):
                    return None
                before = count.value
                ratios.append(p99(self.watch()) / calm[-1])
                rates.append((count.value - before) / self.options.seconds)
        return statistics.median(calm), statistics.median(ratios), statistics.median(rates)

    def watch(self) -> list[int]:
        """A client's times."""
        return watch(self.port, self.cpu, self.options.seconds)

    def flooder_alone(self, name: str) -> float:
        """The ratio while the flooder is at work elsewhere."""
        port = _CONTEXT.Value("i", 0)
        with process(sink, self.cpu, port):
            if not becomes(lambda: port.value > 0):
                raise SystemExit("the sink does not listen")
            found = self.ratio(name, port.value)
        if found is None:
            raise SystemExit("the sink does not end a connection")
        return found[1]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `cpus` becomes (proxy's core, everybody else's core)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=2, help="length of one run")
    parser.add_argument("--pairs", type=int, default=5, help="runs with and without each flood")
    parser.add_argument("--flood", nargs="*", choices=list(FLOODS), default=list(FLOODS))
    options = parser.parse_args(arguments)
    options.cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(options.cpus) < 2:
        parser.error("needs two cores: one for the proxy, one for its clients")
    return options


def measure(kind: str, name: str, options: argparse.Namespace) -> tuple[str, ...]:
    """What there is to say of one proxy under one flood, as cells of the table."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yaml = flood_configuration(silent.getsockname()[1])
        with ProxyProcess(kind, yaml, cpu=options.cpus[0], log_level="off") as proxy:
            bench = Bench(proxy.ports["main"], options)
            bench.watch()  # the first requests are not like the others
            found = bench.ratio(name, bench.port)
            if kind == "envoy":
                return ("not closed" if found is None else f"{found[1]:.1f}",)
            if found is None:
                raise SystemExit(f"{name}: the connection is not closed")
            calm, ratio, rate = found
            alone = bench.flooder_alone(name)
            return f"{rate:.1f}", f"{calm:.0f}", f"{ratio:.1f}", f"{alone:.1f}"


def main() -> None:
    """Print the table."""
    options = parse_arguments()
    print("| flood | connections/s | calm p99, us | p99 / calm | flooder alone | Envoy |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in options.flood:
        cells = (*measure("meshproxy", name, options), *measure("envoy", name, options))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
