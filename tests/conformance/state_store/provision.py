"""What each state store needs to run, and the clock and loop under it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

Provision = Callable[[Path, Any], Mapping[str, str]]
"""From a folder of the test's own, and pytest's request, to the store's metadata."""

PROVISIONS: Final[dict[str, Provision]] = {
    "state.in-memory/v1": lambda folder, request: {},
    "state.postgresql/v1": lambda folder, request: {
        "connectionString": request.getfixturevalue("postgres_server").address
    },
    "state.postgresql/v2": lambda folder, request: {
        "connectionString": request.getfixturevalue("postgres_server").address
    },
    "state.redis/v1": lambda folder, request: {
        "redisHost": request.getfixturevalue("redis_server").address
    },
    "state.sqlite/v1": lambda folder, request: {"connectionString": str(folder / "state.db")},
}

SERVER_TIME: Final[dict[str, str]] = {
    "state.postgresql/v1": "postgres_server",
    "state.postgresql/v2": "postgres_server",
    "state.redis/v1": "redis_server",
}
"""Stores whose server measures the time: the fixture that has `age(seconds)`."""
SILENT_ABOUT_THE_END: Final = frozenset({"state.redis/v1"})
"""Stores with a TTL and no `ttlExpireTime`, as in daprd."""


RULES_OF_ITS_OWN: Final = frozenset({"state.redis/v1"})
"""Where an ETag fits a key that is not there, and a write without a TTL leaves the older one."""


class Clock:
    """Time that passes when a test says so, here and on the store's server."""

    def __init__(self, age: Callable[[float], None] | None = None) -> None:
        self.now = 1_700_000_000.0 if age is None else time.time()
        self._age = age or (lambda seconds: None)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self._age(seconds)


class Loop:
    """Runs a store's coroutines on the one loop that it lives on."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def over(self, store: Any) -> "Blocking":
        return Blocking(self, store)


class Blocking:
    """A store whose methods return what they would be awaited for."""

    def __init__(self, loop: Loop, store: Any) -> None:
        self._loop = loop
        self.inner = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found
        return lambda *arguments: self._loop.run(found(*arguments))
