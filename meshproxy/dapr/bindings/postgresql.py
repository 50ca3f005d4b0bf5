"""`bindings.postgresql`: statements for PostgreSQL. Metadata: that of `dapr/postgresql.py`.

Operations: `exec` and `query`, with the metadata `sql` and `params` (a JSON array), and `close`.
The rows of a query are arrays of their columns' values. Values go both ways as PostgreSQL writes
them, so that a text is good for a column of any type but ranges; bytes come back in base64.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import orjson

from meshproxy.dapr.bindings.binding import OUTPUT_BINDING, BindingData
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.postgresql import FAILURES, open_pool, pool_options

EXEC: Final = "exec"
_ZEROS: Final = re.compile(r"(\.\d*?)0+(?=Z|[+-]\d\d:\d\d$)")
_COUNTS: Final = re.compile(r"the server expects (\d+) arguments? for this query, (\d+) w")
QUERY: Final = "query"
CLOSE: Final = "close"


class PostgresBinding:
    """See the module."""

    features: frozenset[str] = frozenset({OUTPUT_BINDING})
    operations: tuple[str, ...] = (EXEC, QUERY, CLOSE)

    def __init__(self, context: ComponentContext) -> None:
        self._name = context.name
        self._clock = context.clock
        self._pool: Any = None

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        pool_options(metadata)

    async def init(self, metadata: Metadata) -> None:
        """Connect."""
        await self.close()
        self._pool = await open_pool(metadata, _read_and_write_texts)

    async def close(self) -> None:
        """Let go of the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Do one statement; `close` ends the component, and nothing is done after it."""
        if operation == CLOSE:
            await self.close()
            return None
        if self._pool is None:
            raise ComponentError("component is closed")
        sql = request.metadata.get("sql", "")
        if not sql:
            raise ComponentError("required metadata not set: sql")
        values = _values(request.metadata.get("params", ""))
        began, measured = self._clock(), time.perf_counter()
        shown = {"operation": operation, "sql": sql, "start-time": _instant(began)}
        try:
            async with self._pool.acquire() as connection:
                if operation == EXEC:
                    status = await connection.execute(sql, *values)
                    data = b""
                    shown["rows-affected"] = _affected(status)
                else:
                    rows = await connection.fetch(sql, *values)
                    data = orjson.dumps([list(row) for row in rows], default=_shown)
        except (*FAILURES, TypeError, ValueError) as error:
            raise ComponentError(f"error executing query: {_said(error)}") from error
        took = time.perf_counter() - measured
        shown |= {"end-time": _instant(began + took), "duration": _duration(took)}
        return BindingData(data, shown)


def _values(text: str) -> list[Any]:
    if not text:
        return []
    reason = "expected a JSON array"
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        values, reason = None, str(error)
    if not isinstance(values, list):
        raise ComponentError(
            f"invalid metadata property params: failed to unserialize into an array: {reason}"
        )
    return values


def _affected(status: str) -> str:
    """The number of rows at the end of `INSERT 0 3`; 0 for what touches none."""
    number = status.rpartition(" ")[2]
    return number if number.isdecimal() else "0"


def _said(error: Exception) -> str:
    """As Go's client says it."""
    if isinstance(error, asyncpg.PostgresError):
        return f"ERROR: {error} (SQLSTATE {error.sqlstate})"
    text = str(error)
    counts = _COUNTS.match(text)
    return text if counts is None else f"expected {counts[1]} arguments, got {counts[2]}"


def _duration(seconds: float) -> str:
    """As Go writes one of less than a minute."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.9f}".rstrip("0").rstrip(".") + unit
    return f"{seconds * 1e6:.3f}".rstrip("0").rstrip(".") + "\u00b5s"


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


# ---- values ------------------------------------------------------------------------------------


def _written(value: Any) -> str:
    """A value of JSON as PostgreSQL reads it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return orjson.dumps(value).decode()


def _number(text: str) -> Any:
    """With every digit; what JSON has no number for stays a text."""
    return orjson.Fragment(text) if text.lstrip("-")[:1].isdecimal() else text


def _time(text: str) -> Any:
    """RFC 3339 where it is an instant of our calendar; without a zone it is taken for UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    shown = found.replace(tzinfo=found.tzinfo or UTC).isoformat().replace("+00:00", "Z")
    return _ZEROS.sub(r"\1", shown)


def _bytes(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text.removeprefix("\\x"))).decode()


def _truth(text: str) -> bool:
    return text == "t"


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "bool": _truth,
    "bytea": _bytes,
    "date": _time,
    "float4": _number,
    "float8": _number,
    "int2": _number,
    "int4": _number,
    "int8": _number,
    "interval": str,
    "json": orjson.Fragment,
    "jsonb": orjson.Fragment,
    "numeric": _number,
    "text": str,
    "time": str,
    "timestamp": _time,
    "timestamptz": _time,
    "uuid": str,
    "varchar": str,
}
"""How the text of each type becomes a value of JSON; another type is what asyncpg makes of it."""


async def _read_and_write_texts(connection: Any) -> None:
    for name, reader in _READERS.items():
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_written, decoder=reader, format="text"
        )


def _shown(value: Any) -> Any:
    """What JSON has no form for: a range, an address and their like, as a text."""
    return list(value) if isinstance(value, set | frozenset | tuple) else str(value)
