"""A Redis master, its replica, and the Sentinels that put the replica in its place."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

import redis

from tests.support.eventually import eventually
from tests.support.processes import START_TIMEOUT_S
from tests.support.redis_server import RedisServer, binary
from tests.support.server_process import ServerProcess

NAME = "orders"
PASSWORD = "of-sentinels"
_DOWN_MS = 500
_AT_ONCE = ("--repl-diskless-sync-delay", "0")  # else a replica waits for others


class Sentinel(ServerProcess):
    """One that may decide alone. Its own login is `PASSWORD`."""

    name = "sentinel"

    def __init__(self, master_port: int) -> None:
        super().__init__()
        self._master_port = master_port
        self.client = redis.Redis(port=self.port, password=PASSWORD, socket_timeout=30)

    def argv(self) -> Sequence[str]:
        config = self.folder / "sentinel.conf"
        if not config.exists():
            config.write_text(
                f"port {self.port}\nbind 127.0.0.1\nrequirepass {PASSWORD}\n"
                f"sentinel monitor {NAME} 127.0.0.1 {self._master_port} 1\n"
                f"sentinel down-after-milliseconds {NAME} {_DOWN_MS}\n"
                f"sentinel failover-timeout {NAME} 3000\n"
            )
        found = binary()
        assert found is not None
        return [found, str(config), "--sentinel"]

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def __exit__(self, *failure: object) -> None:
        self.client.close()
        super().__exit__(*failure)

    def master_port(self) -> int:
        return int(self.client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def knows_replica(self) -> bool:
        return bool(self.client.execute_command("SENTINEL REPLICAS", NAME))


class RedisFailover:
    """Use as a context manager: then the replica has all, and the Sentinel knows it."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.master = stack.enter_context(RedisServer(*_AT_ONCE))
            self.replica = stack.enter_context(
                RedisServer("--replicaof", f"127.0.0.1 {self.master.port}")
            )
            self.sentinel = stack.enter_context(Sentinel(self.master.port))
            self.settle()
            eventually(self.sentinel.knows_replica, START_TIMEOUT_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def settle(self) -> None:
        """Until the replica has what the master has."""

        def has_all() -> bool:
            info = self.replica.client.info("replication")
            place = self.master.client.info("replication")["master_repl_offset"]
            up = info["role"] == "slave" and info["master_link_status"] == "up"
            return up and info["slave_repl_offset"] >= place

        eventually(has_all, START_TIMEOUT_S)

    def fail_over(self) -> None:
        """Kill the master; until the replica is it."""
        self.master.kill()

        def is_master() -> bool:
            known = self.sentinel.master_port() == self.replica.port
            return known and self.replica.client.info("replication")["role"] == "master"

        eventually(is_master, START_TIMEOUT_S)
