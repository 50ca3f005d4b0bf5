"""What each configuration store needs to run, and how its items are changed from outside."""

from collections.abc import Mapping
from typing import Any, Final


class Redis:
    """Keys of a Redis server."""

    fixture = "redis_server"
    subscription: Final[Mapping[str, str]] = {}
    keeps_metadata = False

    def __init__(self, server: Any) -> None:
        self._client = server.client
        self.metadata = {"redisHost": server.address}

    def put(self, key: str, value: str, version: str) -> None:
        self._client.set(key, f"{value}||{version}")

    def remove(self, key: str) -> None:
        self._client.delete(key)

    def cut(self) -> None:
        """End every connection but this one's own."""
        self._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def close(self) -> None:
        """The server stays."""


class Postgres:
    """Rows of a table with the trigger of Dapr's documentation."""

    fixture = "postgres_server"
    subscription: Final[Mapping[str, str]] = {"pgNotifyChannel": "Config"}
    keeps_metadata = True

    def __init__(self, server: Any) -> None:
        self._server = server
        self.metadata = {"connectionString": server.address, "table": "settings"}
        for statement in (
            "CREATE TABLE settings (key VARCHAR NOT NULL PRIMARY KEY, value VARCHAR NOT NULL, "
            "version VARCHAR NOT NULL, metadata JSON)",
            """CREATE OR REPLACE FUNCTION tell() RETURNS TRIGGER AS $$
            DECLARE row_ JSON;
            BEGIN
              row_ = row_to_json(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
              PERFORM pg_notify('config', json_build_object(
                'table', TG_TABLE_NAME, 'action', TG_OP, 'data', row_)::text);
              RETURN NULL;
            END $$ LANGUAGE plpgsql""",
            "CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON settings "
            "FOR EACH ROW EXECUTE PROCEDURE tell()",
        ):
            server.command(statement)

    def put(self, key: str, value: str, version: str) -> None:
        self._server.command(
            'INSERT INTO settings VALUES ($1, $2, $3, \'{"a": "b"}\') '
            "ON CONFLICT (key) DO UPDATE SET value = $2, version = $3",
            key,
            value,
            version,
        )

    def remove(self, key: str) -> None:
        self._server.command("DELETE FROM settings WHERE key = $1", key)

    def cut(self) -> None:
        """End every connection but this one's own."""
        self._server.command(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query ILIKE 'listen%' AND pid <> pg_backend_pid()"
        )

    def close(self) -> None:
        """Leave nothing for the next test."""
        self._server.command("DROP TABLE settings")


WORLDS: Final[dict[str, Any]] = {
    "configuration.postgresql/v1": Postgres,
    "configuration.redis/v1": Redis,
}
