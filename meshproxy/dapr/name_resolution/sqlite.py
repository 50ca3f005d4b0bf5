"""`nameresolution.sqlite`: the sidecars of one machine find each other in a SQLite file.

Needs no network, no multicast and no server, and is the default. Metadata: `connectionString` (by
default a file of the user's own), `tableName` (hosts), `metadataTableName` (metadata),
`updateInterval` (5s), `timeout` (1s). A row that was not renewed for an interval counts no more.
Unlike daprd, which renews shortly before that, we do so at half of it, and try for an interval
where others hold the file for longer than `timeout`.

Layout: components-contrib, nameresolution/sqlite; `last_update` is in seconds since 1970.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import tempfile
import uuid
from pathlib import Path
from typing import Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.sqlite import Database, table_name
from meshproxy.network.tasks import spawn

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

_AGAIN: Final = 0.1  # seconds until a write that has failed is tried again
_FORGET_AFTER: Final = 3600  # seconds; rows that old are removed by whoever registers
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS {table} (
  registration_id TEXT NOT NULL PRIMARY KEY,
  address TEXT NOT NULL,
  app_id TEXT NOT NULL,
  namespace TEXT NOT NULL,
  last_update INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS {table}_address_idx ON {table} (address);
CREATE INDEX IF NOT EXISTS {table}_last_update_idx ON {table} (last_update);
CREATE TABLE IF NOT EXISTS {metadata} (key text NOT NULL PRIMARY KEY, value text NOT NULL);
REPLACE INTO {metadata} (key, value) VALUES ('nr-migrations', '1')"""


class SqliteNameResolver:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._database: Database | None = None
        self._table = "hosts"
        self._interval = 5.0
        self._timeout = 1.0
        self._registration = ""
        self._address = ""

    async def init(self, metadata: Metadata) -> None:
        """Open the file, and make the tables where they are missing."""
        self._table = table_name(metadata.first("tableName") or "hosts")
        other = table_name(metadata.first("metadataTableName") or "metadata")
        self._interval = metadata.seconds("updateInterval", 5.0)
        self._timeout = metadata.seconds("timeout", 1.0)
        if not 0 < self._timeout < self._interval:
            raise ComponentError("updateInterval must be greater than timeout, and timeout than 0")
        target = metadata.first("connectionString") or default_file()
        await self.close()
        # Where the machine fails, the sidecars have ended with it.
        self._database = database = Database(target, self._timeout, durable=False)
        await database.open()
        if await database.run(lambda connection: _is_made(connection, self._table, other)):
            return
        statements = _CREATE.format(table=self._table, metadata=other).split(";")

        def create(connection: sqlite3.Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        await database.transaction(create)

    async def register(self, address: str) -> None:
        """Write the row, and renew it."""
        self._address = address
        self._registration = str(uuid.uuid4())
        await self._write_in_time()
        spawn(self._context.owner, self._renew(), "name registration")

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        """The addresses that were renewed in time."""
        statement = (
            f"SELECT address FROM {self._table} "  # noqa: S608 (the name is checked)
            "WHERE app_id = ? AND namespace = ? AND last_update > ? ORDER BY address"
        )
        values = (app_id, namespace, self._context.clock() - self._interval)
        rows = await self._open().run(lambda c: c.execute(statement, values).fetchall())
        return [address for (address,) in rows]

    def forget(self, app_id: str, namespace: str) -> None:
        """Nothing is remembered here."""

    async def close(self) -> None:
        """Take the row back."""
        database, self._database = self._database, None
        if database is None:
            return
        try:
            if self._registration:
                await database.run(self._remove)
        except ComponentError as error:
            logger.warning("the name registration could not be removed: %s", error)
        finally:
            await database.close()

    @property
    def renewed_every(self) -> float:
        """Seconds."""
        return min(self._interval - self._timeout, self._interval / 2)

    def _open(self) -> Database:
        if self._database is None:
            raise ComponentError("the name registry is closed")
        return self._database

    def _remove(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            f"DELETE FROM {self._table} WHERE registration_id = ?",  # noqa: S608
            (self._registration,),
        )

    async def _write_in_time(self) -> None:
        """Write; what has failed is tried again for an interval. Raises ComponentError."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._interval
        while True:
            try:
                await self._write()
                return
            except ComponentError:
                if now() >= deadline:
                    raise
            await asyncio.sleep(_AGAIN)

    async def _write(self) -> None:
        """Insert or renew: REPLACE also takes the address over from whoever had it before."""
        identity = self._context.identity
        now = int(self._context.clock())
        row = (self._registration, self._address, identity.app_id, identity.namespace, now)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"DELETE FROM {self._table} WHERE last_update < ?",  # noqa: S608
                (now - _FORGET_AFTER,),
            )
            connection.execute(
                f"REPLACE INTO {self._table} "  # noqa: S608
                "(registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, ?, ?)",
                row,
            )

        await self._open().transaction(work)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.renewed_every)
            try:
                await self._write_in_time()
            except ComponentError as error:
                logger.error("Failed to update host registration: %s", error)


def _is_made(connection: sqlite3.Connection, *tables: str) -> bool:
    """Whether the tables are there: one sidecar at a time may write, and many may start."""
    level = f"SELECT value FROM {tables[-1]} WHERE key = 'nr-migrations'"  # noqa: S608
    found = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN (?, ?)", tables
    ).fetchone()
    return bool(found == (len(set(tables)),) and connection.execute(level).fetchone() == ("1",))


def default_file() -> str:
    """The file in which the sidecars of this user meet, in a folder that only the user can open.

    Raises ComponentError where the folder is somebody else's.
    """
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder /= f"meshproxy-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ComponentError(f"the folder '{folder}' cannot be had: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ComponentError(f"'{folder}' is not a folder that only this user can write")
    return str(folder / "names.db")
