"""A pool of connections to PostgreSQL by the metadata that Dapr's components have. Knows no table.

Metadata: `connectionString` (also `url`: a URL, or libpq's `key=value` pairs), and before its words
`host`, `hostaddr`, `port`, `user`, `password`, `database`, `sslRootCert`; `timeout` (20s, also
`timeoutInSeconds`), `maxConns`, `connectionMaxIdleTime` (also `connMaxIdleTime`), `queryExecMode`:
by all but `cache_statement` no statement stays prepared.
Source: the reference of `state.postgresql`.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from meshproxy.dapr.component import ComponentError, Metadata

__all__ = ["FAILURES", "connect", "open_pool", "pool_options", "table_name", "timeout_of"]

FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What a statement may raise."""
_REFUSED: Final = ("useAzureAD", "useAWSIAM")
_SCHEMES: Final = ("postgres://", "postgresql://")
_WORDS: Final = ("hostaddr", "host", "port", "user", "password", "database")
"""Metadata that come before the same word of the connection string."""
_SAME: Final = {"database": "dbname"}
_POOL_WORDS: Final = (
    "pool_",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "description_cache_capacity",
)
"""Words of Go's client, which the server would not know; but for two they have no effect here."""
_QUERY_EXEC_MODES: Final = (
    "cache_statement",
    "cache_describe",
    "describe_exec",
    "exec",
    "simple_protocol",
)
_KEYWORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
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
    size = metadata.integer("maxConns", 0, minimum=0) or options.pop("max_size", _POOL)
    idle = metadata.seconds(
        "connectionMaxIdleTime" if "connectionMaxIdleTime" in metadata else "connMaxIdleTime", 300.0
    )
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
    text = metadata.first("connectionString", "url").strip()
    words, names = _of_url(text) if text.startswith(_SCHEMES) else _of_pairs(text)
    given: dict[str, Any] = {name: metadata[name] for name in _WORDS if metadata.get(name, "")}
    if not (words or names or given):
        raise ComponentError("missing connection string")
    if "hostaddr" in given:
        given["host"] = given.pop("hostaddr")
    if "hostaddr" in names:
        names["host"] = names.pop("hostaddr")
    for port in (given.get("port"), names.get("port")):
        if port and not port.isdecimal():
            raise ComponentError(f"the port is '{port}'; expected a number")
    if "port" in given:
        given["port"] = int(given["port"])
    if metadata.get("sslRootCert", ""):
        names["sslrootcert"] = metadata["sslRootCert"]
    if names.get("sslmode") == "require" and names.get("sslrootcert"):
        names["sslmode"] = "verify-ca"  # as libpq has it
    options = _of_pool(names, metadata)
    dsn = urlunsplit(("postgresql", words, "", urlencode(names), ""))
    return {**options, **given, "dsn": dsn}


def _of_url(text: str) -> tuple[str, dict[str, str]]:
    """Its user, host and port as they are, and what is named after them."""
    try:
        url = urlsplit(text)
        names = dict(parse_qsl(url.query, strict_parsing=bool(url.query), keep_blank_values=True))
    except ValueError:
        raise ComponentError("connectionString is no URL of a database") from None
    if url.path.strip("/"):
        names["dbname"] = unquote(url.path.strip("/"))
    return url.netloc, names


def _of_pool(names: dict[str, str], metadata: Metadata) -> dict[str, Any]:
    """What is no word of the server's: taken out of the names."""
    found = {name: names.pop(name) for name in tuple(names) if name.startswith(_POOL_WORDS)}
    size = found.get("pool_max_conns", "")
    if size and not (size.isdecimal() and int(size)):
        raise ComponentError(f"pool_max_conns is '{size}'; expected a whole number above 0")
    mode = metadata.get("queryExecMode", "") or found.get("default_query_exec_mode", "")
    mode = mode or _QUERY_EXEC_MODES[0]
    if mode not in _QUERY_EXEC_MODES:
        expected = ", ".join(_QUERY_EXEC_MODES)
        raise ComponentError(f"queryExecMode is '{mode}'; expected one of {expected}")
    options: dict[str, Any] = {"max_size": int(size)} if size else {}
    if mode != _QUERY_EXEC_MODES[0]:
        options["statement_cache_size"] = 0  # no statement outlives its use, as proxies want it
    return options


def _of_pairs(text: str) -> tuple[str, dict[str, str]]:
    """libpq's own form: `host=localhost user=u password='p w'`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ComponentError(f"connectionString: {error}") from None
    names: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _KEYWORD.fullmatch(name):
            # Not the word itself: it may be a part of a password.
            raise ComponentError(
                "connectionString has a part that is no keyword with its value; expected a URL, "
                "or such as host=localhost user=u password='p w'"
            )
        names[_SAME.get(name, name)] = value
    return "", names
