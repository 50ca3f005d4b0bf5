"""Load generators: each runs once against a port and tells rate and 99th percentile."""

import re
import subprocess
from collections.abc import Callable
from typing import Final, NamedTuple

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99: Final = re.compile(r"99%\s+([\d.]+)(us|ms|s)")
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
