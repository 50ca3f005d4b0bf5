"""A pool of connections to PostgreSQL by the metadata that Dapr's components have. Knows no table.

Metadata: `connectionString` (a URL, or libpq's `key=value` pairs), or `host`, `port`, `user`,
`password`, `database`; `timeout` (20s, also `timeoutInSeconds`), `maxConns`,
`connectionMaxIdleTime`. Source: the reference of `state.postgresql`.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from meshproxy.dapr.component import ComponentError, Metadata

__all__ = ["FAILURES", "connect", "open_pool", "pool_options", "table_name", "timeout_of"]

FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What a statement may raise."""
_REFUSED: Final = ("useAzureAD", "useAWSIAM")
_NAMES: Final = {
    "host": "host",
    "hostaddr": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "dbname": "database",
    "database": "database",
    "sslmode": "ssl",
    "pool_max_conns": "max_size",
}
_TABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_POOL: Final = 4  # connections, or as many as pgx takes: the CPUs, where they are more


def timeout_of(metadata: Metadata) -> float:
    """How long a statement may take, in seconds."""
    name = "timeout" if "timeout" in metadata else "timeoutInSeconds"
    seconds = metadata.seconds(name, 20.0)
    if seconds < 1.0:
        raise ComponentError(f"{name} is {seconds:g}s; expected at least 1s")
    return seconds


def table_name(name: str) -> str:
    """A name that may stand in a statement. Raises ComponentError for any other."""
    if not _TABLE.fullmatch(name):
        text = f"'{name}' is no table name; expected letters, digits and _, perhaps after a schema"
        raise ComponentError(text)
    return name


def pool_options(metadata: Metadata) -> dict[str, Any]:
    """What the metadata say of a pool. Raises ComponentError."""
    options = _options(metadata)
    timeout = timeout_of(metadata)
    size = metadata.integer("maxConns", 0, minimum=0) or int(options.pop("max_size", _POOL))
    idle = metadata.seconds("connectionMaxIdleTime", 300.0)
    return {
        **options,
        "min_size": 1,
        "max_size": size,
        "max_inactive_connection_lifetime": idle,
        "command_timeout": timeout,
    }


async def connect(metadata: Metadata) -> Any:
    """One connection beside those of a pool. Raises ComponentError."""
    options = _options(metadata)
    options.pop("max_size", None)
    timeout = timeout_of(metadata)
    try:
        return await asyncpg.connect(timeout=timeout, command_timeout=timeout, **options)
    except (*FAILURES, ValueError) as error:
        raise ComponentError(f"failed to connect to the database: {error}") from error


async def open_pool(
    metadata: Metadata, prepare: Callable[[Any], Awaitable[None]] | None = None
) -> Any:
    """Connect; `prepare` is awaited with every new connection. Raises ComponentError."""
    options = pool_options(metadata)
    try:
        async with asyncio.timeout(options["command_timeout"]):
            return await asyncpg.create_pool(init=prepare, **options)
    except (*FAILURES, ValueError) as error:
        raise ComponentError(f"failed to connect to the database: {error}") from error


def _options(metadata: Metadata) -> dict[str, Any]:
    for name in _REFUSED:
        if metadata.boolean(name):
            raise ComponentError(f"the metadata '{name}' is not supported")
    text = metadata.get("connectionString", "").strip()
    options: dict[str, Any] = {}
    if text.startswith(("postgres://", "postgresql://")):
        options["dsn"] = text
    else:
        options = _pairs(text)
    for name in ("host", "port", "user", "password", "database"):
        value = metadata.get(name, "")
        if value:
            options[name] = value
    if not options:
        raise ComponentError("missing connection string")
    if "port" in options:
        if not str(options["port"]).isdecimal():
            raise ComponentError(f"the port is '{options['port']}'; expected a number")
        options["port"] = int(options["port"])
    return options


def _pairs(text: str) -> dict[str, Any]:
    """libpq's own form: `host=localhost user=u password='p w'`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ComponentError(f"connectionString: {error}") from None
    options: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in _NAMES:
            # Not the word itself: it may be a part of a password.
            expected = ", ".join(sorted(_NAMES))
            raise ComponentError(
                f"connectionString has an unknown keyword; expected a URL, or of {expected}"
            )
        options[_NAMES[name]] = value
    return options
