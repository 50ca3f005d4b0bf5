"""A server that a test starts on a free port and a folder of its own: start, kill, end.

Owns the process. What a server is called with, and when it is up, is for each to say.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from meshproxy.server.dapr.run import free_port
from tests.support.processes import START_TIMEOUT_S, STOP_TIMEOUT_S, StartError


class ServerProcess:
    """One server that keeps what it was given over `kill`. Use as a context manager."""

    name = "server"
    ends_by = signal.SIGTERM
    user: str | None = None  # it runs as; by default as the tests do

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
                as_user(self.user, command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
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
        if hasattr(self, "process"):  # else it could not even be started
            end(self.process, self.ends_by)
        self._folder.cleanup()


_AS_USER = """
import os, pwd, sys
user = pwd.getpwnam(sys.argv[1])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
os.execv(sys.argv[2], sys.argv[2:])
"""


def as_user(user: str | None, command: Sequence[str]) -> Sequence[str]:
    """The command, run as this user; None: as it is.

    Not by `Popen(user=...)`, which forks: then this process runs what its libraries have
    registered for a fork, and grpcio may wait there for threads that wait for it.
    """
    return command if user is None else [sys.executable, "-Ic", _AS_USER, user, *command]


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
