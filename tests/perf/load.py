"""Load generators: each runs once against a port and tells rate and 99th percentile."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99: Final = re.compile(r"99%\s+([\d.]+)(us|ms|s)")
_H2_RATE: Final = re.compile(r"finished in [^,]*, ([\d.]+) req/s")
_H2_DONE: Final = re.compile(r"requests: .* (\d+) succeeded, 0 failed, 0 errored, 0 timeout")
_ERRORS: Final = re.compile(r"(Non-2xx or 3xx responses|Socket errors): .*")
_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Rate(NamedTuple):
    """What one run gave."""

    per_second: float
    p99_ms: float
    requests: float


class LoadError(Exception):
    """The generator met errors, so its figures mean nothing."""


Load = Callable[[int, int, int], Rate]  # (port, seconds, cpu)


def wrk(target: str, connections: int = 32, scheme: str = "http") -> Load:
    """HTTP/1.1 keep-alive requests for `target`; wrk asks no `https` server who it is."""

    def run(port: int, seconds: int, cpu: int) -> Rate:
        command = ["taskset", "-c", str(cpu), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        command += ["--latency", f"{scheme}://127.0.0.1:{port}{target}"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rate, p99 = _RATE.search(text), _P99.search(text)
        if _ERRORS.search(text) or not rate or not p99:
            raise LoadError(f"wrk met errors:\n{text}")
        per_second = float(rate[1])
        return Rate(per_second, float(p99[1]) * _MS[p99[2]], per_second * seconds)

    return run


def h2load(target: str, arguments: Sequence[str] = (), body: bytes = b"") -> Load:
    """HTTP/2 requests for `target`: 8 connections with 8 streams each."""

    def run(port: int, seconds: int, cpu: int) -> Rate:
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory, "log")
            command = ["taskset", "-c", str(cpu), "h2load", "-t1", "-c8", "-m8", f"-D{seconds}"]
            command += [f"--log-file={log}", *arguments]
            if body:
                file = Path(directory, "body")
                file.write_bytes(body)
                command.append(f"--data={file}")
            command.append(f"http://127.0.0.1:{port}{target}")
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rate, done = _H2_RATE.search(text), _H2_DONE.search(text)
            if not rate or not done:
                raise LoadError(f"h2load met errors:\n{text}")
            took = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        p99_us = took[int(len(took) * 0.99)] if took else 0
        return Rate(float(rate[1]), p99_us / 1000, float(done[1]))

    return run


def websocket(target: str, connections: int = 32) -> Load:
    """Exchanges over connections that have switched (`websocket_load.py`)."""

    def run(port: int, seconds: int, cpu: int) -> Rate:
        command = ["taskset", "-c", str(cpu), sys.executable, "-m", "tests.perf.websocket_load"]
        command += [str(port), str(seconds), target, str(connections)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise LoadError(f"the WebSocket load met errors:\n{done.stderr}")
        per_second, p99_ms = map(float, done.stdout.split())
        return Rate(per_second, p99_ms, per_second * seconds)

    return run
