"""`configuration.postgresql`: rows of a table as configuration, changes by LISTEN and NOTIFY.

Metadata: that of `dapr/postgresql.py`, and `table`, with the columns `key`, `value`, `version` and
`metadata` (JSON). A subscription needs `notifyChannel` (also `pgNotifyChannel`), or the metadata
`pgNotifyChannel` of its own: where a trigger of the table sends
`{"action": ..., "data": <the row>}`, as in Dapr's documentation. One departure from daprd: a row
whose `action` is DELETE is told as removed, not with the value that it had.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata, Permanent
from meshproxy.dapr.configuration.configuration_store import (
    ConfigurationItem,
    Items,
    Unsubscribe,
    UpdateHandler,
)
from meshproxy.dapr.postgresql import FAILURES, connect, open_pool, pool_options, table_name
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

CHANNEL: Final = "pgNotifyChannel"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_KEY: Final = re.compile(r"[A-Za-z0-9./_]*")
_AGAIN: Final = 1.0  # seconds until a lost connection is made again
_MOST_WAITING: Final = 10_000
"""Keys whose change the app has not taken yet; of one key only the newest value waits."""


class PostgresConfigurationStore:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self._name = context.name
        self._metadata = Metadata({})
        self._table = ""
        self._pool: Any = None
        self._owners: set[TaskOwner] = set()

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        name = metadata.get("table", "")
        if not name:
            raise ComponentError("missing postgreSQL configuration table name")
        table_name(name)
        _channel(metadata)
        pool_options(metadata)

    async def init(self, metadata: Metadata) -> None:
        """Connect, and look whether the table is there."""
        self.check_metadata(metadata)
        self._table = name = metadata["table"]
        await self.close()
        self._metadata = metadata
        self._pool = pool = await open_pool(metadata)
        try:
            found = await pool.fetchval("SELECT to_regclass($1)::text", self._table)
        except FAILURES as error:
            raise ComponentError(f"the configuration table cannot be read: {error}") from error
        if found is None:
            raise ComponentError(f"postgreSQL configuration table - '{name}' does not exist")

    async def close(self) -> None:
        """End every subscription and let go of the connections."""
        owners, self._owners = self._owners, set()
        for owner in owners:
            await owner.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> Items:
        """The items of these keys, or of all."""
        if self._pool is None:
            raise ComponentError(f"{self._name} is closed")
        for key in keys:
            if not _KEY.fullmatch(key):
                raise Permanent(f"invalid key : '{key}'")
        statement = f"SELECT key, value, version, metadata::text FROM {self._table}"  # noqa: S608
        try:
            if keys:
                rows = await self._pool.fetch(f"{statement} WHERE key = ANY($1)", list(keys))
            else:
                rows = await self._pool.fetch(statement)
        except FAILURES as error:
            raise ComponentError(f"error in querying configuration store: {error}") from error
        return _newest(rows)

    async def subscribe(
        self, keys: Sequence[str], metadata: Mapping[str, str], handler: UpdateHandler
    ) -> Unsubscribe:
        """Tell of changes from now on."""
        channel = _channel(self._metadata) or _channel(Metadata(metadata))
        if not channel:
            raise ComponentError(
                f'unable to subscribe to "{self._table}". notifyChannel must be set in component '
                "metadata or request metadata"
            )
        # An identifier without quotes is folded by PostgreSQL; here it is quoted.
        listener = _Listener(self._name, self._metadata, channel.lower(), frozenset(keys))
        await listener.open()
        owner = TaskOwner()
        spawn(owner, listener.tell(handler), f"{self._name} subscription")
        self._owners.add(owner)

        async def unsubscribe() -> None:
            self._owners.discard(owner)
            await owner.close()

        return unsubscribe


def _channel(metadata: Metadata) -> str:
    name = metadata.first("notifyChannel", CHANNEL)
    if name and not _IDENTIFIER.fullmatch(name):
        raise ComponentError(f"notifyChannel is '{name}'; expected letters, digits and _")
    return name


class _Listener:
    """One subscription: its connection, and the changes that wait to be told."""

    def __init__(self, name: str, metadata: Metadata, channel: str, keys: frozenset[str]) -> None:
        """No `keys`: every key."""
        self._name = name
        self._metadata = metadata
        self._channel = channel
        self._keys = keys
        self._connection: Any = None
        self._waiting: dict[str, ConfigurationItem] = {}
        self._something = asyncio.Event()

    async def open(self) -> None:
        """Connect and listen. Raises ComponentError."""
        connection = await connect(self._metadata)
        try:
            connection.add_termination_listener(self._lost)
            await connection.add_listener(self._channel, self._heard)
        except FAILURES as error:
            await connection.close()
            raise ComponentError(f"error listening to channel: {error}") from error
        self._connection = connection

    async def tell(self, handler: UpdateHandler) -> None:
        """Hand on what is heard, until it is cancelled."""
        try:
            while True:
                await self._something.wait()
                self._something.clear()
                while self._waiting:
                    key = next(iter(self._waiting))
                    await self._hand_on(handler, {key: self._waiting.pop(key)})
                if self._connection is None:
                    await self._open_again()
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.remove_termination_listener(self._lost)
                with suppress(*FAILURES):
                    await connection.close()

    async def _hand_on(self, handler: UpdateHandler, items: Items) -> None:
        try:
            await handler(items)
        except ComponentError as error:
            text = "%s: the change of %s was not taken: %s"
            logger.error(text, self._name, ", ".join(items), error)

    async def _open_again(self) -> None:
        logger.error("%s: the connection was lost: the subscription is made again", self._name)
        while self._connection is None:
            await asyncio.sleep(_AGAIN)
            with suppress(ComponentError):
                await self.open()

    def _lost(self, connection: object) -> None:
        self._connection = None
        self._something.set()

    def _heard(self, connection: object, process: int, channel: str, payload: str) -> None:
        try:
            document = orjson.loads(payload)
            row = {name.lower(): value for name, value in document["data"].items()}
            key = row["key"]
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            text = "%s: unknown format of data received in notify event on %s"
            logger.warning(text, self._name, channel)
            return
        if self._keys and key not in self._keys:
            return
        if len(self._waiting) >= _MOST_WAITING and key not in self._waiting:
            logger.error("%s: too many changes wait: that of %s is passed over", self._name, key)
            return
        removed = str(document.get("action", "")).upper() == "DELETE"
        self._waiting[str(key)] = ConfigurationItem("") if removed else _item(row)
        self._something.set()


def _newest(rows: Sequence[Mapping[str, Any]]) -> Items:
    """Of several rows of one key that with the highest number as version, else the first."""
    found: dict[str, tuple[int, ConfigurationItem]] = {}
    for row in rows:
        item = _item(dict(row))
        number = int(item.version) if item.version.isdecimal() else -1
        if row["key"] not in found or number > found[row["key"]][0]:
            found[row["key"]] = number, item
    return {key: item for key, (_, item) in found.items()}


def _item(row: Mapping[str, Any]) -> ConfigurationItem:
    metadata = row.get("metadata") or {}
    if isinstance(metadata, str):
        metadata = orjson.loads(metadata)
    texts = metadata.items() if isinstance(metadata, dict) else ()
    shown = {name: value if isinstance(value, str) else str(value) for name, value in texts}
    return ConfigurationItem(str(row.get("value") or ""), str(row.get("version") or ""), shown)
