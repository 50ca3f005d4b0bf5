"""What Dapr's sidecar costs: run by hand, prints a table beside its bars.

    [DAPRD=/path/of/daprd] python -m tests.perf.dapr [--seconds 5] [--rounds 3] [--only invoke]

`invoke`: a thousand calls a second with 1 KB each way, over HTTP and over gRPC, from app to app
through two sidecars. A core stands for a machine: on one are the callers and their sidecar, on the
other the app, which answers at once, and its own. Each way is measured in turn with the direct one;
shown are the medians of what it adds, and the processor time of both sidecars. With a daprd, it
goes through two of those, too, in each round, and what is ours is shown as a part of theirs.
`state`: the highest rate of reading and writing 1 KB on one core, and the processor time of a
request, which a busy machine disturbs less.
`start`: from the command line to `/v1.0/healthz`, and resident memory with six components. As where
the package is installed, the bytecode is there already.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from meshproxy.server.dapr.run import free_port
from tests.parity_daprd.harness import Setup, Side
from tests.perf.cases import HERE
from tests.perf.compare import compile_c, upstream
from tests.perf.load import h2load
from tests.support.processes import ProxyProcess, cpu_seconds, rss_bytes
from tests.support.redis_server import RedisServer
from tests.support.sidecar import Sidecar

RATE: Final = 1000
CONNECTIONS: Final = 16
PAYLOAD: Final = b"x" * 1024
MESSAGE: Final = b"\0" + len(PAYLOAD).to_bytes(4, "big") + PAYLOAD
STATE_CONNECTIONS: Final = 32
COMPONENTS: Final = (
    ("memory", "state.in-memory", {}),
    ("file", "state.sqlite", {"connectionString": "{folder}/state.db"}),
    ("redis", "state.redis", {"redisHost": "{redis}"}),
    ("bus", "pubsub.redis", {"redisHost": "{redis}"}),
    ("settings", "configuration.redis", {"redisHost": "{redis}"}),
    ("secrets", "secretstores.local.env", {}),
)


class Bar(NamedTuple):
    """What a figure shall be at most, or at least."""

    value: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.value:,g}"


def row(name: str, value: float, unit: str, bar: Bar | None = None, digits: int = 2) -> None:
    """One line of the table."""
    verdict = ""
    if bar is not None:
        verdict = "met" if (value >= bar.value) == bar.at_least or value == bar.value else "MISSED"
    print(f"| {name} | {value:,.{digits}f} {unit} | {bar or ''} | {verdict} |", flush=True)


# ---- invocation --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of the answers to one run."""

    p50: float
    p90: float
    p99: float


@contextmanager
def app(protocol: str, cpu: int) -> Iterator[int]:
    """Something that answers 1 KB at once; yields its port."""
    if protocol == "http":
        with (
            tempfile.TemporaryDirectory() as folder,
            upstream(compile_c(HERE / "upstream.c", Path(folder)), cpu) as port,
        ):
            yield port
        return
    with ProxyProcess("envoy", grpc_app(), cpu=cpu) as envoy:
        yield envoy.ports["main"]


def grpc_app() -> str:
    """An Envoy that answers every call of gRPC."""
    document = yaml.safe_load((HERE / "http2_upstream.yaml").read_text())
    (listener,) = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    route["direct_response"]["body"] = {"inline_bytes": base64.b64encode(MESSAGE).decode()}
    route["response_headers_to_add"] = [
        {
            "header": {"key": key, "value": value},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
        for key, value in (("content-type", "application/grpc"), ("grpc-status", "0"))
    ]
    return yaml.safe_dump(document)


_GRPC: Final = ("content-type: application/grpc", "te: trailers")


class Way(NamedTuple):
    """How calls go: to which port and target, with which headers; `h1`: over HTTP/1.1."""

    port: int
    target: str
    headers: tuple[str, ...] = ()
    h1: bool = True


def times(way: Way, seconds: int, cpu: int) -> Times:
    """One run at the fixed rate.

    Each connection has a generator of its own, and they start one after the other: the clients of
    a single one send at the same instant, and would measure how long sixteen calls take.
    """
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        body = Path(directory, "body")
        body.write_bytes(PAYLOAD if way.h1 else MESSAGE)
        command = ["taskset", "-c", str(cpu), "h2load", "-t1", "-c1", f"-D{seconds}"]
        command += [f"--rps={RATE / CONNECTIONS}", f"--data={body}"]
        command += ["--h1"] if way.h1 else ["-m1"]
        for header in way.headers:
            command += ["-H", header]
        command.append(f"http://127.0.0.1:{way.port}{way.target}")
        running = []
        for number in range(CONNECTIONS):
            log = f"--log-file={directory}/{number}.log"
            process = subprocess.Popen([*command, log], stdout=subprocess.DEVNULL)
            running.append(stack.enter_context(process))
            time.sleep(1 / RATE)
        for process in running:
            if process.wait(3 * seconds + 20):
                raise SystemExit(f"h2load ended with {process.returncode}")
        logs = [path.read_text() for path in Path(directory).glob("*.log")]
    lines = [line.split("\t") for log in logs for line in log.splitlines()]
    if len(lines) < RATE * seconds * 0.95 or {status for _, status, _ in lines} != {"200"}:
        answered = sorted({status for _, status, _ in lines})
        raise SystemExit(f"{way}: {len(lines)} answers of {answered} in {seconds} s")
    took = sorted(int(line[2]) / 1000 for line in lines)
    return Times(*(took[int(len(took) * part)] for part in (0.5, 0.9, 0.99)))


@contextmanager
def pair(protocol: str, app_port: int, cpus: Sequence[int]) -> Iterator[tuple[Sidecar, Sidecar]]:
    """A sidecar without an app, and one with it beside it on its core, that find each other."""
    with names() as config, ExitStack() as stack:
        app = ("--app-port", str(app_port), "--app-protocol", protocol)
        callee = Sidecar("callee", "--config", str(config), *app, cpu=cpus[1])
        caller = Sidecar("caller", "--config", str(config), cpu=cpus[0])
        yield stack.enter_context(caller), stack.enter_context(callee)


@contextmanager
def names() -> Iterator[Path]:
    """A Configuration, by which a pair of sidecars finds each other and nobody else."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        resolution = {
            "component": "sqlite",
            "configuration": {"connectionString": f"{folder}/names.db"},
        }
        document = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Configuration",
            "metadata": {"name": "config"},
            "spec": {"nameResolution": resolution},
        }
        config.write_text(yaml.safe_dump(document))
        yield config


class Daprd(Side):
    """The other one, pinned to a core."""

    def __init__(self, app_id: str, config: Path, *arguments: str, cpu: int) -> None:
        super().__init__("daprd", Setup(app_id, ("--config", str(config), *arguments), config=""))
        self._cpu = cpu

    def command(self) -> list[str]:
        """With its core."""
        return ["taskset", "-c", str(self._cpu), *super().command()]


@contextmanager
def daprds(protocol: str, app_port: int, cpus: Sequence[int]) -> Iterator[tuple[Daprd, Daprd]]:
    """The same with two daprds."""
    with names() as config, ExitStack() as stack:
        app = ("--app-port", str(app_port), "--app-protocol", protocol)
        callee = stack.enter_context(Daprd("callee", config, *app, cpu=cpus[1]))
        yield stack.enter_context(Daprd("caller", config, cpu=cpus[0])), callee


class Sample(NamedTuple):
    """What one run has added to the direct way: milliseconds, and milli-cores of both sidecars."""

    p50: float
    p90: float
    p99: float
    processor: float


def sample(
    way: Way, direct: Way, sidecars: Sequence[Sidecar | Daprd], seconds: int, cpu: int
) -> Sample:
    """The direct way, then the one through sidecars."""
    pids = [each.process.pid for each in sidecars if each.process is not None]
    without = times(direct, seconds, cpu)
    before = sum(map(cpu_seconds, pids))
    found = times(way, seconds, cpu)
    used = (sum(map(cpu_seconds, pids)) - before) / seconds * 1000
    return Sample(found.p50 - without.p50, found.p90 - without.p90, found.p99 - without.p99, used)


def through(protocol: str, port: int, grpc_port: int) -> Way:
    """The way of a call through the sidecar with these ports."""
    if protocol == "http":
        return Way(port, "/v1.0/invoke/callee/method/1kb")
    return Way(grpc_port, "/echo.Echo/Call", (*_GRPC, "dapr-app-id: callee"), h1=False)


def invoke(protocol: str, options: argparse.Namespace, bar: float) -> None:
    """The rows of one protocol."""
    here, there = options.cpus
    with app(protocol, there) as port, ExitStack() as stack:
        direct = (
            Way(port, "/1kb") if protocol == "http" else Way(port, "/echo.Echo/Call", _GRPC, False)
        )
        kinds = {"": stack.enter_context(pair(protocol, port, options.cpus))}
        if "DAPRD" in os.environ:
            kinds["daprd's "] = stack.enter_context(daprds(protocol, port, options.cpus))
        ways = {
            name: through(protocol, each[0].port, each[0].grpc_port) for name, each in kinds.items()
        }
        for way in ways.values():
            times(way, 3, here)
        samples: dict[str, list[Sample]] = {name: [] for name in kinds}
        for _ in range(options.rounds):
            for name, sidecars in kinds.items():
                samples[name].append(sample(ways[name], direct, sidecars, options.seconds, here))
    found = {
        name: Sample(*map(statistics.median, zip(*each, strict=True)))
        for name, each in samples.items()
    }
    for name, medians in found.items():
        shown = f"{protocol} invocation, {name}"
        for part in ("p50", "p90", "p99"):
            limit = Bar(bar) if part == "p90" and not name else None
            row(f"{shown}added {part}", getattr(medians, part), "ms", limit)
        row(f"{shown}processor of both sidecars", medians.processor, "m", digits=0)
    if len(found) == 2:
        ours, theirs = found.values()
        for part in Sample._fields:
            ratio = getattr(ours, part) / max(getattr(theirs, part), 0.001)
            row(f"{protocol} invocation, {part}, ours of daprd's", ratio, "")


# ---- state -------------------------------------------------------------------------------------


def write_components(folder: Path, redis: RedisServer) -> None:
    """A file for each of COMPONENTS."""
    values = {"folder": str(folder), "redis": redis.address}
    for name, kind, metadata in COMPONENTS:
        items = [{"name": key, "value": text.format(**values)} for key, text in metadata.items()]
        document = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": name},
            "spec": {"type": kind, "metadata": items},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))


def state(options: argparse.Namespace) -> None:
    """The rates of three stores."""
    mine, other = options.cpus
    with tempfile.TemporaryDirectory() as directory, RedisServer() as redis, ExitStack() as stack:
        folder = Path(directory)
        write_components(folder, redis)
        os.sched_setaffinity(redis.process.pid, {other})
        sidecar = stack.enter_context(Sidecar("app", "--resources-path", str(folder), cpu=mine))
        for name, bar in (("memory", Bar(6000, at_least=True)), ("file", None), ("redis", None)):
            path = f"/v1.0/state/{name}"
            item = [{"key": "k", "value": PAYLOAD.decode()}]
            assert sidecar.call("POST", path, item).status == 204
            for verb, target, body in (("get", f"{path}/k", None), ("save", path, item)):
                rate, used = state_rate(sidecar, target, options, body)
                shown = f"state {verb}, {name}"
                row(shown, rate, "/s", bar if verb == "get" else None, digits=0)
                row(f"{shown}, processor", used, "µs", digits=0)


def state_rate(
    sidecar: Sidecar, target: str, options: argparse.Namespace, item: object
) -> tuple[float, float]:
    """Requests a second, and microseconds of one: the medians of several runs over HTTP/1.1."""
    body = b"" if item is None else json.dumps(item).encode()
    load = h2load(target, ["--h1", f"-c{STATE_CONNECTIONS}", "-m1"], body)
    rates, used = [], []
    for _ in range(options.rounds):
        before = cpu_seconds(sidecar.process.pid)
        run = load(sidecar.port, options.seconds, options.cpus[1])
        used.append((cpu_seconds(sidecar.process.pid) - before) / run.requests * 1e6)
        rates.append(run.per_second)
    return statistics.median(rates), statistics.median(used)


# ---- start -------------------------------------------------------------------------------------


def healthy_after(arguments: Sequence[str], cpu: int) -> float:
    """Seconds from the command line to a green `/v1.0/healthz`."""
    port = free_port()
    began = time.perf_counter()
    with Sidecar("app", "--dapr-http-port", str(port), *arguments, ready=False, cpu=cpu) as _:
        while not _is_green(port):
            time.sleep(0.005)
        return time.perf_counter() - began


def _is_green(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1.0/healthz")
        return connection.getresponse().status == 204
    except OSError:
        return False
    finally:
        connection.close()


def start(options: argparse.Namespace) -> None:
    """Time and memory."""
    mine = options.cpus[0]
    with tempfile.TemporaryDirectory() as directory, RedisServer() as redis:
        folder = Path(directory)
        write_components(folder, redis)
        six = ("--resources-path", str(folder))
        for name, arguments, bar in (("no component", (), Bar(1.0)), ("six", six, Bar(1.0))):
            healthy_after(arguments, mine)  # makes the bytecode
            taken = [healthy_after(arguments, mine) for _ in range(options.rounds)]
            row(f"start to healthz, {name}", statistics.median(taken), "s", bar)
        with Sidecar("app", *six, cpu=mine) as sidecar:
            for name, _, _ in COMPONENTS[:3]:
                sidecar.call("POST", f"/v1.0/state/{name}", [{"key": "k", "value": 1}])
            resident = rss_bytes(sidecar.process.pid) / 1e6
        row("resident with six components", resident, "MB", Bar(90), digits=0)


PARTS: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "invoke": lambda options: invoke("http", options, 1.5),
    "invoke-grpc": lambda options: invoke("grpc", options, 2.0),
    "state": state,
    "start": start,
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `cpus` becomes (the sidecar's core, everybody else's core)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=5, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="these parts alone")
    options = parser.parse_args(arguments)
    options.cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(options.cpus) < 2:
        parser.error("needs two cores: one for the sidecars, one for the load")
    return options


def main() -> None:
    """Print the table."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as bytecode:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """The parts that were asked for."""
    print("| figure | measured | bar | |\n|---|---|---|---|")
    for part in options.only or PARTS:
        PARTS[part](options)


if __name__ == "__main__":
    main()
