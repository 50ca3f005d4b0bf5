"""Starts sidecars by fork, from one process that has imported what a sidecar imports.

For tests that start hundreds: nearly all of a start is importing. Knows no test. As a program it
reads one command a line: `["start", argv, environment, log]` is answered by the process id,
`["kill", pid]` when that process is gone.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
MODULES: Final = (
    "meshproxy.cli",
    "meshproxy.server.dapr.command",
    "meshproxy.server.dapr.sidecar",
    "meshproxy.dapr.state.sqlite",
    "meshproxy.dapr.name_resolution.sqlite",
)


class Hatched:
    """One process of a nursery, with what a test needs of a `Popen`."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self._over = False

    def poll(self) -> int | None:
        """None while nobody has ended it; one that ended by itself is found by its log."""
        return -signal.SIGKILL if self._over else None

    def kill(self) -> None:
        """As by `kill -9`; it is gone when this returns."""
        if not self._over:
            self._nursery.ask(["kill", self.pid])
            self._over = True

    def wait(self, timeout: float | None = None) -> int:
        """What is killed is gone at once."""
        assert self._over
        return -signal.SIGKILL


class Nursery:
    """The process, for tests. Use as a context manager; it ends what it has started."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.sidecar_nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.communicate()

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Hatched:
        """One sidecar; of the command, what comes after the program's name is used."""
        argv = list(command[command.index("meshproxy") + 1 :])
        return Hatched(self, int(self.ask(["start", argv, dict(environment), str(log)])))

    def ask(self, command: Sequence[object]) -> str:
        """One command, and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has ended"
        return answer


def _start(argv: list[str], environment: dict[str, str], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.environ.update(environment)
        os.chdir(Path(log).parent)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os._exit(importlib.import_module("meshproxy.cli").main(argv))
    finally:
        os._exit(1)


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def main() -> None:
    for name in MODULES:
        importlib.import_module(name)
    alive: set[int] = set()
    for line in sys.stdin:
        kind, *arguments = json.loads(line)
        if kind == "start":
            pid = _start(*arguments)
            alive.add(pid)
        else:
            (pid,) = arguments
            _end(pid)
            alive.discard(pid)
        print(pid, flush=True)
    for pid in alive:
        _end(pid)


if __name__ == "__main__":
    main()
