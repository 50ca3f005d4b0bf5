"""A server that a test starts on a free port and a folder of its own: start, kill, end.

Owns the process. What a server is called with, and when it is up, is for each to say.
"""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.support.processes import START_TIMEOUT_S, STOP_TIMEOUT_S, StartError


def free_port() -> int:
    """A port that nobody gets who asks for any, nor as the near end of a connection.

    So nobody else takes it before the server does, nor while that is killed and started again.
    """
    chance = random.SystemRandom()  # hypothesis would have every process take the same
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class ServerProcess:
    """One server that keeps what it was given over `kill`. Use as a context manager."""

    name = "server"
    user: str | None = None  # it runs as; by default as the tests do
    processes: Sequence[subprocess.Popen[bytes]] = ()

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        self.folder = Path(self._folder.name)
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    # -- for each server to say --------------------------------------------------------------

    def argv(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}

    def answers(self) -> bool:
        """Whether it is up: by default, whether something accepts a connection."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    # -- life --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        """Also after `kill`: on the same port, with what it had."""
        self.process = self.spawn(self.argv())
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise StartError(f"{self.name} has not started\n{self.log}")
            time.sleep(0.02)

    def spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=self.user,
                cwd=self.folder,  # where some leave a dump when they are killed
                env={**os.environ, **self.environment()},
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """As by `kill -9`, with all that it has started."""
        end(self.process, signal.SIGKILL)

    def __exit__(self, *failure: object) -> None:
        end(self.process, signal.SIGTERM)
        self._folder.cleanup()


def end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """End a process and its group, and wait for it."""
    try:
        os.killpg(process.pid, how)
        process.wait(STOP_TIMEOUT_S)
    except ProcessLookupError:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT_S)
