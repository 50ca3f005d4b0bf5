"""`state.postgresql` v1 and v2: a table in PostgreSQL, in daprd's own layouts.

Metadata: that of `postgresql.py`; `cleanupInterval` (1h, also `cleanupIntervalInSeconds`, 0 or less
for never), `metadataTableName` (dapr_metadata); v1: `tableName` (state); v2: `tablePrefix`.

Layouts: components-contrib, state/postgresql. v1 keeps JSON, bytes as base64 in it, and has `xmin`
as ETag; v2 keeps bytes, and its ETag is a random UUID.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.postgresql import FAILURES, open_pool, pool_options, table_name
from meshproxy.dapr.state.postgresql_query import select_of
from meshproxy.dapr.state.query import Query
from meshproxy.dapr.state.store import (
    ETAG,
    QUERY_API,
    TRANSACTIONAL,
    TTL,
    DeleteRequest,
    EtagInvalid,
    EtagMismatch,
    GetRequest,
    Operation,
    Outcome,
    QueryResult,
    SetRequest,
    StateItem,
    StateStoreError,
    is_json,
)
from meshproxy.network.tasks import spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")
_LAST_XID: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class _Layout:
    """What differs between the versions, as pieces of SQL; `{t}` is the table."""

    migrations: tuple[str, ...]
    columns: str
    expires: str
    etag_fits: str
    insert: str
    update: str


_V1: Final = _Layout(
    migrations=(
        "CREATE TABLE IF NOT EXISTS {t} (key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, "
        "isbinary boolean NOT NULL, insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), "
        "updatedate TIMESTAMP WITH TIME ZONE NULL)",
        "ALTER TABLE {t} ADD COLUMN IF NOT EXISTS expiredate TIMESTAMP WITH TIME ZONE",
    ),
    columns="key, value::text AS value, isbinary, xmin::text AS etag",
    expires="expiredate",
    etag_fits="xmin::text = ${n}",
    insert="(key, value, isbinary, expiredate) VALUES ($1, $2::text::jsonb, $3, {end})",
    update="value = $2::text::jsonb, isbinary = $3, updatedate = now(), expiredate = {end}",
)
_V2: Final = _Layout(
    migrations=(
        "CREATE TABLE IF NOT EXISTS {t} (key text NOT NULL PRIMARY KEY, value bytea NOT NULL, "
        "etag uuid NOT NULL DEFAULT gen_random_uuid(), "
        "created_at timestamp with time zone NOT NULL DEFAULT now(), "
        "updated_at timestamp with time zone, expires_at timestamp with time zone); "
        "CREATE INDEX ON {t} (expires_at)",
    ),
    columns="key, value, etag::text AS etag",
    expires="expires_at",
    etag_fits="etag::text = ${n}",
    insert="(key, value, expires_at) VALUES ($1, $2::bytea, {end})",
    update="value = $2::bytea, etag = gen_random_uuid(), updated_at = now(), expires_at = {end}",
)


class _PostgresStateStore:
    """What both versions share."""

    features: frozenset[str] = frozenset({ETAG, TRANSACTIONAL, TTL})
    multi_max_size: int | None = None
    _layout: _Layout

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._pool: Any = None
        self._table = self._metadata_table = ""

    # -- what differs --------------------------------------------------------------------------

    def _table_name(self, metadata: Metadata) -> str:
        raise NotImplementedError

    def _migrations_key(self, metadata: Metadata) -> str:
        raise NotImplementedError

    def _values(self, request: SetRequest) -> tuple[Any, ...]:
        """The parameters of a value."""
        raise NotImplementedError

    def _item(self, row: Any) -> StateItem:
        raise NotImplementedError

    def _check_etag(self, etag: str) -> None:
        """Raises EtagInvalid for what cannot be one."""
        raise NotImplementedError

    # -- life ----------------------------------------------------------------------------------

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        pool_options(metadata)
        self._read_metadata(metadata)

    def _read_metadata(self, metadata: Metadata) -> float:
        """The names of the tables; returns the seconds between two cleanups."""
        self._table = self._table_name(metadata)
        self._metadata_table = table_name(metadata.get("metadataTableName", "") or "dapr_metadata")
        name = "cleanupInterval"
        return metadata.seconds(name if name in metadata else "cleanupIntervalInSeconds", 3600.0)

    async def init(self, metadata: Metadata) -> None:
        """Connect, and bring the tables up to date."""
        cleanup = self._read_metadata(metadata)
        key = self._migrations_key(metadata)
        await self.close()
        self._pool = await open_pool(metadata)
        await self._migrate(key)
        if cleanup > 0:
            spawn(self._context.owner, self._clean_up(cleanup), f"{self._context.name} cleanup")

    async def close(self) -> None:
        """Let go of the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def _migrate(self, key: str) -> None:
        table, steps = self._metadata_table, self._layout.migrations
        async with self._connected() as connection, connection.transaction():
            # One sidecar at a time, also before there is a table to lock.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", table)
            await connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table} "
                "(key text NOT NULL PRIMARY KEY, value text NOT NULL)"
            )
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            found = await connection.fetchval(
                f"SELECT value FROM {table} WHERE key = $1",  # noqa: S608 (checked)
                key,
            )
            level = int(found) if found is not None and found.isdecimal() else 0
            if level > len(steps):
                raise ComponentError(
                    f"the table '{self._table}' has the layout {level} of a newer daprd; expected "
                    f"at most {len(steps)}"
                )
            for step in steps[level:]:
                await connection.execute(step.format(t=self._table))
            await connection.execute(
                f"INSERT INTO {table} (key, value) VALUES ($1, $2) "  # noqa: S608
                "ON CONFLICT (key) DO UPDATE SET value = $2",
                key,
                str(len(steps)),
            )

    async def _clean_up(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                await self.remove_expired()
            except ComponentError as error:
                logger.error("%s: expired items were not removed: %s", self._context.name, error)

    async def remove_expired(self) -> None:
        """Delete what has ended."""
        statement = f"DELETE FROM {self._table} WHERE {self._layout.expires} < now()"  # noqa: S608
        async with self._connected() as connection:
            await connection.execute(statement)

    # -- operations ----------------------------------------------------------------------------

    async def get(self, request: GetRequest) -> StateItem | None:
        """The item of a key."""
        return (await self._read([request.key])).get(request.key)

    async def bulk_get(self, requests: Sequence[GetRequest]) -> list[StateItem | Outcome]:
        """The items of several keys, in one statement."""
        keys = [request.key for request in requests]
        found = await self._read(keys)
        return [found.get(key) for key in keys]

    async def _read(self, keys: list[str]) -> dict[str, StateItem]:
        end = self._layout.expires
        statement = (
            f"SELECT {self._layout.columns}, extract(epoch FROM {end})::float8 AS expires "  # noqa: S608
            f"FROM {self._table} WHERE key = ANY($1) AND ({end} IS NULL OR {end} >= now())"
        )
        async with self._connected() as connection:
            rows = await connection.fetch(statement, keys)
        return {row["key"]: self._item(row) for row in rows}

    async def set(self, request: SetRequest) -> None:
        """Write a key."""
        async with self._connected() as connection:
            await self._do(connection, request)

    async def delete(self, request: DeleteRequest) -> None:
        """Remove a key."""
        async with self._connected() as connection:
            await self._do(connection, request)

    async def bulk(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Each by itself, on one connection."""
        outcomes: list[Outcome] = []
        async with self._connected() as connection:
            for operation in operations:
                try:
                    await self._do(connection, operation)
                except (EtagMismatch, EtagInvalid) as error:
                    outcomes.append(error)
                except FAILURES as error:
                    outcomes.append(StateStoreError(str(error)))
                else:
                    outcomes.append(None)
        return outcomes

    async def multi(self, operations: Sequence[Operation]) -> None:
        """All or nothing."""
        async with self._connected() as connection, connection.transaction():
            for operation in operations:
                await self._do(connection, operation)

    async def _do(self, connection: Any, operation: Operation) -> None:
        if operation.etag:
            self._check_etag(operation.etag)
        if isinstance(operation, DeleteRequest):
            statement, values = self._delete(operation)
        else:
            statement, values = self._write(operation)
        status = await connection.execute(statement, *values)
        if not status.endswith(" 1") and (operation.etag or isinstance(operation, SetRequest)):
            raise EtagMismatch

    def _delete(self, request: DeleteRequest) -> tuple[str, tuple[Any, ...]]:
        statement = f"DELETE FROM {self._table} WHERE key = $1"  # noqa: S608
        if not request.etag:
            return statement, (request.key,)
        return statement + " AND " + self._layout.etag_fits.format(n=2), (request.key, request.etag)

    def _write(self, request: SetRequest) -> tuple[str, tuple[Any, ...]]:
        layout = self._layout
        values: list[Any] = [request.key, *self._values(request), request.ttl]
        end = f"now() + ${len(values)}::int * interval '1 second'"
        update, alive = layout.update.format(end=end), layout.expires
        if request.etag:
            values.append(request.etag)
            fits = layout.etag_fits.format(n=len(values))
            return (
                f"UPDATE {self._table} SET {update} WHERE key = $1 AND {fits} "  # noqa: S608
                f"AND ({alive} IS NULL OR {alive} >= now())"
            ), tuple(values)
        insert = layout.insert.format(end=end)
        # An item that has expired may still lie there, and is free for a first write.
        only = f" WHERE t.{alive} < now()" if request.concurrency == "first-write" else ""
        into = f"INSERT INTO {self._table} AS t {insert}"
        return f"{into} ON CONFLICT (key) DO UPDATE SET {update}{only}", tuple(values)

    def _connected(self) -> _Connected:
        if self._pool is None:
            raise StateStoreError(f"{self._context.name} is closed")
        return _Connected(self._pool)


class _Connected:
    """A connection of the pool; what goes wrong becomes ComponentError."""

    def __init__(self, pool: Any) -> None:
        self._acquired = pool.acquire()

    async def __aenter__(self) -> Any:
        try:
            return await self._acquired.__aenter__()
        except FAILURES as error:
            raise StateStoreError(f"the database cannot be reached: {error}") from error

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._acquired.__aexit__(kind, error, trace)
        except FAILURES as failure:
            raise StateStoreError(str(failure)) from failure
        if isinstance(error, FAILURES):
            raise StateStoreError(str(error)) from error


class PostgresStateStoreV1(_PostgresStateStore):
    """`state.postgresql` v1, which can be queried."""

    features = frozenset({ETAG, QUERY_API, TRANSACTIONAL, TTL})
    _layout = _V1

    async def query(self, query: Query, prefix: str) -> QueryResult:
        """The items that fit; the token of a page is how many are before the next one."""
        statement, values = select_of(query, prefix, self._table, self._layout.columns)
        async with self._connected() as connection:
            rows = await connection.fetch(statement, *values)
        end = int(query.token or 0) + len(rows)
        return QueryResult(tuple(map(self._item, rows)), str(end) if query.limit else "")

    def _table_name(self, metadata: Metadata) -> str:
        return table_name(metadata.get("tableName", "") or "state")

    def _migrations_key(self, metadata: Metadata) -> str:
        return "migrations"

    def _values(self, request: SetRequest) -> tuple[Any, ...]:
        if request.binary:
            return f'"{base64.b64encode(request.value).decode()}"', True
        return request.value.decode(), False

    def _item(self, row: Any) -> StateItem:
        value, binary = row["value"].encode(), row["isbinary"]
        data = base64.b64decode(orjson.loads(value)) if binary else value
        return StateItem(row["key"], data, row["etag"], binary, row["expires"])

    def _check_etag(self, etag: str) -> None:
        if not (etag.isascii() and etag.isdecimal() and int(etag) <= _LAST_XID):
            raise EtagInvalid(f"invalid etag value: '{etag}' is not a number of 32 bits")


class PostgresStateStoreV2(_PostgresStateStore):
    """`state.postgresql` v2."""

    _layout = _V2

    def _table_name(self, metadata: Metadata) -> str:
        return table_name(metadata.get("tablePrefix", "") + "state")

    def _migrations_key(self, metadata: Metadata) -> str:
        return "migrations-state-v2-" + metadata.get("tablePrefix", "")

    def _values(self, request: SetRequest) -> tuple[Any, ...]:
        return (request.value,)

    def _item(self, row: Any) -> StateItem:
        """Nothing says whether a value is the caller's bytes: what is no JSON is."""
        data: bytes = row["value"]
        return StateItem(row["key"], data, row["etag"], not is_json(data), row["expires"])

    def _check_etag(self, etag: str) -> None:
        try:
            uuid.UUID(etag)
        except ValueError:
            raise EtagInvalid(f"invalid etag value: '{etag}' is not a UUID") from None
