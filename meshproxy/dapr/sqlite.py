"""One SQLite database and the thread that uses it. Knows no table.

`sqlite3` blocks, so all work of a database is done in order by one thread of its own; whoever asks
awaits the result. WAL lets other processes, a daprd too, read and write beside us.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from meshproxy.dapr.component import ComponentError

T = TypeVar("T")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def table_name(name: str) -> str:
    """A name that may stand in a statement. Raises ComponentError for any other."""
    if not _IDENTIFIER.fullmatch(name):
        raise ComponentError(
            f"invalid table name '{name}'; expected letters, digits and underscores"
        )
    return name


class Database:
    """A connection with its thread. `work` in the methods runs there, and gets the connection."""

    def __init__(self, connection_string: str, busy_timeout: float, *, wal: bool = True) -> None:
        self._executor = ThreadPoolExecutor(1, "sqlite")
        self._target = connection_string
        self._busy_timeout = busy_timeout
        self._wal = wal
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Connect. Raises ComponentError."""
        await self._call(self._open)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something that is one statement, or only reads."""
        return await self._call(lambda: work(self._connected()))

    async def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something as one transaction: what `work` raises undoes all of it."""

        def do() -> T:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            return result

        return await self._call(do)

    async def close(self) -> None:
        """Finish what was asked for, and disconnect."""
        await self._call(self._close)
        self._executor.shutdown()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise ComponentError("the database is closed")
        return self._connection

    def _open(self) -> None:
        self._close()
        target = self._target
        connection = sqlite3.connect(
            target,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=target.startswith("file:"),
        )
        try:
            if self._wal and ":memory:" not in target and "mode=memory" not in target:
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except sqlite3.Error as error:
            raise ComponentError(f"SQLite: {error}") from error
        except RuntimeError as error:  # the executor has been shut down
            raise ComponentError("the database is closed") from error
