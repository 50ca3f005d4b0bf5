"""`state.sqlite`: a table in a SQLite file, in daprd's own layout: either can go on with it.

Metadata: `connectionString` (a path or a `file:` URI), `tableName` (state), `metadataTableName`
(metadata), `busyTimeout` (2s), `cleanupInterval` (1h, 0 for never), `disableWAL`.

Layout: components-contrib, state/sqlite: values are JSON text, or base64 where `is_binary`; times
are UTC as `YYYY-MM-DD HH:MM:SS`; an ETag is a random UUID.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import sqlite3
import uuid
from calendar import timegm
from collections.abc import Sequence
from time import gmtime, strftime, strptime
from typing import Any, Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.sqlite import Database, table_name
from meshproxy.dapr.state.store import (
    ETAG,
    TRANSACTIONAL,
    TTL,
    DeleteRequest,
    EtagMismatch,
    GetRequest,
    Operation,
    Outcome,
    SetRequest,
    StateItem,
)
from meshproxy.network.tasks import spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

LEVEL: Final = 1
"""How many of daprd's migrations the layout has."""
_TIME: Final = "%Y-%m-%d %H:%M:%S"
_CLEANUP_SLACK: Final = 100  # milliseconds
_BATCH: Final = 500  # keys in one statement; SQLite's own limit is 32766
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS {table} (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  is_binary BOOLEAN NOT NULL,
  etag TEXT NOT NULL,
  expiration_time TIMESTAMP DEFAULT NULL,
  update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
)"""
_CREATE_METADATA: Final = """
CREATE TABLE IF NOT EXISTS {table} (key text NOT NULL PRIMARY KEY, value text NOT NULL)"""


class SqliteStateStore:
    """See the module."""

    features: frozenset[str] = frozenset({ETAG, TRANSACTIONAL, TTL})
    multi_max_size: int | None = None

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._database: Database | None = None
        self._table = "state"
        self._metadata_table = "metadata"

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        self._read_metadata(metadata)

    def _read_metadata(self, metadata: Metadata) -> tuple[Database, float]:
        """The database, and the seconds between two cleanups."""
        target = metadata.first("connectionString", "url")
        if not target:
            raise ComponentError("missing connection string")
        self._table = table_name(metadata.first("tableName") or "state")
        self._metadata_table = table_name(metadata.first("metadataTableName") or "metadata")
        busy = metadata.seconds("busyTimeout", 2.0)
        cleanup = metadata.seconds("cleanupInterval", 3600.0)
        wal = not metadata.boolean("disableWAL")
        return Database(target, busy, wal=wal), cleanup

    async def init(self, metadata: Metadata) -> None:
        """Open the file, and make the tables where they are missing."""
        database, cleanup = self._read_metadata(metadata)
        await self.close()
        self._database = database
        await database.open()
        await database.transaction(self._migrate)
        if cleanup > 0:
            spawn(self._context.owner, self._clean_up(cleanup), f"{self._context.name} cleanup")

    async def close(self) -> None:
        """Close the file."""
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    async def get(self, request: GetRequest) -> StateItem | None:
        """The item of a key."""
        return (await self._read([request.key])).get(request.key)

    async def bulk_get(self, requests: Sequence[GetRequest]) -> list[StateItem | Outcome]:
        """The items of several keys, in as few statements as go."""
        keys = [request.key for request in requests]
        found: dict[str, StateItem] = {}
        for start in range(0, len(keys), _BATCH):
            found |= await self._read(keys[start : start + _BATCH])
        return [found.get(key) for key in keys]

    async def set(self, request: SetRequest) -> None:
        """Write a key."""
        await self._open().transaction(lambda connection: self._do(connection, request))

    async def delete(self, request: DeleteRequest) -> None:
        """Remove a key."""
        await self._open().transaction(lambda connection: self._do(connection, request))

    async def bulk(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Each by itself, but one commit for all that succeed."""

        def work(connection: sqlite3.Connection) -> list[Outcome]:
            outcomes: list[Outcome] = []
            for operation in operations:
                try:
                    self._do(connection, operation)
                except EtagMismatch as error:  # before anything was written
                    outcomes.append(error)
                else:
                    outcomes.append(None)
            return outcomes

        return await self._open().transaction(work)

    async def multi(self, operations: Sequence[Operation]) -> None:
        """All or nothing."""

        def work(connection: sqlite3.Connection) -> None:
            for operation in operations:
                self._do(connection, operation)

        await self._open().transaction(work)

    # -- in the thread of the database ---------------------------------------------------------

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute(_CREATE_METADATA.format(table=self._metadata_table))
        row = connection.execute(
            f"SELECT value FROM {self._metadata_table} WHERE key = 'migrations'"  # noqa: S608 (checked)
        ).fetchone()
        level = int(row[0]) if row is not None and str(row[0]).isdecimal() else 0
        if level > LEVEL:
            raise ComponentError(
                f"the table '{self._table}' has the layout {level} of a newer daprd; expected at "
                f"most {LEVEL}"
            )
        connection.execute(_CREATE.format(table=self._table))
        connection.execute(
            f"REPLACE INTO {self._metadata_table} (key, value) VALUES ('migrations', ?)",  # noqa: S608
            (str(LEVEL),),
        )

    def _do(self, connection: sqlite3.Connection, operation: Operation) -> None:
        if isinstance(operation, SetRequest):
            self._set(connection, operation)
            return
        where, values = "key = ?", [operation.key]
        if operation.etag:
            where, values = "key = ? AND etag = ?", [operation.key, operation.etag]
        done = connection.execute(f"DELETE FROM {self._table} WHERE {where}", values)  # noqa: S608
        if operation.etag and not done.rowcount:
            raise EtagMismatch

    def _set(self, connection: sqlite3.Connection, request: SetRequest) -> None:
        now = self._context.clock()
        value = base64.b64encode(request.value) if request.binary else request.value
        expires = None if request.ttl is None else _text(now + request.ttl)
        row = (value.decode(), request.binary, str(uuid.uuid4()), expires, _text(now), request.key)
        if request.etag:
            done = connection.execute(
                f"UPDATE {self._table} SET value = ?, is_binary = ?, etag = ?, "  # noqa: S608
                "expiration_time = ?, update_time = ? WHERE key = ? AND etag = ? "
                "AND (expiration_time IS NULL OR expiration_time > ?)",
                (*row, request.etag, _text(now)),
            )
        else:
            # An insert-only write still takes the place of an item that has expired.
            free = "WHERE expiration_time <= excluded.update_time"
            only = free if request.concurrency == "first-write" else ""
            done = connection.execute(
                f"INSERT INTO {self._table} "  # noqa: S608
                "(value, is_binary, etag, expiration_time, update_time, key) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "value = excluded.value, is_binary = excluded.is_binary, etag = excluded.etag, "
                "expiration_time = excluded.expiration_time, update_time = excluded.update_time "
                f"{only}",
                row,
            )
        if not done.rowcount:
            raise EtagMismatch

    # -- the rest ------------------------------------------------------------------------------

    def _open(self) -> Database:
        if self._database is None:
            raise ComponentError("the database is closed")
        return self._database

    async def _read(self, keys: Sequence[str]) -> dict[str, StateItem]:
        marks = ", ".join("?" * len(keys))
        statement = (
            f"SELECT key, value, is_binary, etag, expiration_time FROM {self._table} "  # noqa: S608
            f"WHERE key IN ({marks}) AND (expiration_time IS NULL OR expiration_time > ?)"
        )
        values = (*keys, _text(self._context.clock()))
        rows = await self._open().run(lambda c: c.execute(statement, values).fetchall())
        return {row[0]: _item(*row) for row in rows}

    async def _clean_up(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                if await self.may_clean_up(interval):
                    await self.remove_expired()
            except ComponentError as error:
                logger.error("%s: expired items were not removed: %s", self._context.name, error)

    async def may_clean_up(self, interval: float) -> bool:
        """Whether nobody has done so within the interval, in seconds; as daprd notes it down."""
        statement = (
            f"INSERT INTO {self._metadata_table} (key, value) "  # noqa: S608 (checked)
            "VALUES ('last-cleanup', CURRENT_TIMESTAMP) "
            "ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP "
            "WHERE (strftime('%s', CURRENT_TIMESTAMP) - strftime('%s', value)) * 1000 > ?"
        )
        least = interval * 1000 - _CLEANUP_SLACK
        return await self._open().transaction(lambda c: c.execute(statement, (least,)).rowcount > 0)

    async def remove_expired(self) -> int:
        """Delete what has ended; returns how many items it was."""
        statement = f"DELETE FROM {self._table} WHERE expiration_time <= ?"  # noqa: S608
        now = _text(self._context.clock())
        return await self._open().run(lambda c: c.execute(statement, (now,)).rowcount)


def _item(key: str, value: Any, binary: int, etag: str, expiration: str | None) -> StateItem:
    data = value if isinstance(value, bytes) else value.encode()
    expires = None if expiration is None else float(timegm(strptime(expiration[:19], _TIME)))
    return StateItem(key, base64.b64decode(data) if binary else data, etag, bool(binary), expires)


def _text(seconds: float) -> str:
    return strftime(_TIME, gmtime(seconds))
