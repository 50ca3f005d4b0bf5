"""One SQLite database and the thread that uses it. Knows no table.

`sqlite3` blocks, so all work of a database is done in order by one thread of its own; whoever asks
awaits the result. WAL lets other processes, a daprd too, read and write beside us.

A commit waits for the disk, unless what is written need not outlive the machine's failure. What is
asked for in the meantime is done together, each behind a savepoint of its own, and committed once:
nobody is told of success before that.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from meshproxy.dapr.component import ComponentError

T = TypeVar("T")
_MOST: Final = 256
"""Transactions that are committed together; more would keep the first one waiting for long."""
_PAUSE: Final = 0.02  # seconds between two attempts where SQLite does not wait
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def table_name(name: str) -> str:
    """A name that may stand in a statement. Raises ComponentError for any other."""
    if not _IDENTIFIER.fullmatch(name):
        raise ComponentError(
            f"invalid table name '{name}'; expected letters, digits and underscores"
        )
    return name


def _pause(seconds: float) -> None:
    """In the thread of a database."""
    time.sleep(seconds)


class _Transaction:
    """One that waits, and then what became of it."""

    __slots__ = ("error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: Exception | None = None


class Database:
    """A connection with its thread. `work` in the methods runs there, and gets the connection."""

    def __init__(
        self,
        connection_string: str,
        busy_timeout: float,
        *,
        wal: bool = True,
        durable: bool = True,
    ) -> None:
        """`busy_timeout` in seconds; `durable`: a commit is on the disk when it is confirmed."""
        self._executor = ThreadPoolExecutor(1, "sqlite")
        self._target = connection_string
        self._busy_timeout = busy_timeout
        self._wal = wal
        self._durable = durable
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[_Transaction] = deque()

    async def open(self) -> None:
        """Connect. Raises ComponentError."""
        await self._call(self._open)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something that is one statement, or only reads."""
        return await self._call(lambda: work(self._connected()))

    async def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something as one transaction: what `work` raises undoes all of it."""
        mine = _Transaction(work)
        self._waiting.append(mine)
        await self._call(self._commit_waiting)
        if mine.error is not None:
            if isinstance(mine.error, sqlite3.Error):
                raise ComponentError(f"SQLite: {mine.error}") from mine.error
            raise mine.error
        result: T = mine.result
        return result

    async def close(self) -> None:
        """Finish what was asked for, and disconnect."""
        await self._call(self._close)
        self._executor.shutdown()

    def _commit_waiting(self) -> None:
        """In the thread: all that wait, unless whoever came before has done them already."""
        batch: list[_Transaction] = []
        while self._waiting and len(batch) < _MOST:
            batch.append(self._waiting.popleft())
        if batch and not self._commit(batch) and len(batch) > 1:
            # What one of them has met, a full disk for example, need not be the others' fault.
            for each in batch:
                each.error = None
                self._commit([each])

    def _commit(self, batch: list[_Transaction]) -> bool:
        """One commit for all. False: nothing has happened, and it may alone; all have an error."""
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
        except (sqlite3.Error, ComponentError) as error:
            for each in batch:
                each.error = error
            return True  # to wait for a lock again, alone, would take each its whole time
        try:
            for each in batch:
                connection.execute("SAVEPOINT one")
                try:
                    each.result = each.work(connection)
                except Exception as error:
                    each.error = error
                    connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
            connection.commit()
        except sqlite3.Error as error:
            connection.rollback()
            for each in batch:
                each.error = each.error or error
            return False
        return True

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
                self._use_wal(connection)
                if not self._durable:
                    connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """SQLite refuses at once while another writes in the old mode, so we wait for it here."""
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= deadline:
                    raise
            _pause(_PAUSE)

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
