"""A Redis Cluster of three masters, the first of which has a replica; knows no component."""

from contextlib import ExitStack
from typing import Self

from meshproxy.server.dapr.run import free_port
from tests.support.eventually import eventually
from tests.support.processes import START_TIMEOUT_S
from tests.support.redis_server import RedisServer

_SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))
_TIMEOUT_MS = 3000  # until a node that does not answer is taken for dead


class ClusterNode(RedisServer):
    """One node; its bus has a port of its own."""

    def __init__(self) -> None:
        self.bus_port = free_port()
        super().__init__(
            "--cluster-enabled", "yes",
            "--cluster-port", str(self.bus_port),
            "--cluster-node-timeout", str(_TIMEOUT_MS),
            "--cluster-require-full-coverage", "no",
            "--repl-diskless-sync-delay", "0",
        )  # fmt: skip


class RedisCluster:
    """Use as a context manager: then every node knows the others, and the replica has all."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.masters = [stack.enter_context(ClusterNode()) for _ in _SLOTS]
            self.replica = stack.enter_context(ClusterNode())
            for node, (first, last) in zip(self.masters, _SLOTS, strict=True):
                node.client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            for node in (*self.masters[1:], self.replica):
                where = ("127.0.0.1", node.port, node.bus_port)
                self.masters[0].client.execute_command("CLUSTER MEET", *where)
            eventually(self._all_are_known, START_TIMEOUT_S)
            first_id = self.masters[0].client.execute_command("CLUSTER MYID")
            self.replica.client.execute_command("CLUSTER REPLICATE", first_id)
            self.settle()
            ports = {node.port for node in self.masters}
            eventually(
                lambda: all(
                    _owners(node) == ports and _is_up(node)
                    for node in (*self.masters, self.replica)
                ),
                START_TIMEOUT_S,
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def addresses(self) -> str:
        return ",".join(node.address for node in self.masters)

    def _all_are_known(self) -> bool:
        nodes = (*self.masters, self.replica)
        return all(_known(node) >= {each.port for each in nodes} for node in nodes)

    def settle(self) -> None:
        """Until the replica has what its master has, and all know that it is one."""

        def has_all() -> bool:
            info = self.replica.client.info("replication")
            if (info["role"], info.get("master_link_status")) != ("slave", "up"):
                return False
            place = self.masters[0].client.info("replication")["master_repl_offset"]
            told = all(len(_replicas(node)) == 1 for node in self.masters)
            return told and info["slave_repl_offset"] >= place

        eventually(has_all, START_TIMEOUT_S)

    def fail_over(self) -> None:
        """Kill the first master; until its replica has its slots, for all that are left."""
        self.masters[0].kill()
        left = (*self.masters[1:], self.replica)
        eventually(
            lambda: all(self.replica.port in _owners(node) for node in left), START_TIMEOUT_S
        )


def _nodes(node: ClusterNode) -> list[list[str]]:
    node.client.response_callbacks.pop("CLUSTER NODES", None)
    text = node.client.execute_command("CLUSTER NODES")
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    return [line.split() for line in lines]


def _is_up(node: ClusterNode) -> bool:
    """Whether it answers for its slots: for a while after the others are known it does not yet."""
    node.client.response_callbacks.pop("CLUSTER INFO", None)
    text = node.client.execute_command("CLUSTER INFO")
    return "cluster_state:ok" in (text.decode() if isinstance(text, bytes) else text)


def _port(address: str) -> int:
    return int(address.partition("@")[0].rpartition(":")[2])


def _known(node: ClusterNode) -> set[int]:
    usual = ("handshake", "noaddr")
    return {_port(each[1]) for each in _nodes(node) if not any(word in each[2] for word in usual)}


def _replicas(node: ClusterNode) -> list[str]:
    return [each[1] for each in _nodes(node) if "slave" in each[2]]


def _owners(node: ClusterNode) -> set[int]:
    """Ports of masters that have slots."""
    return {_port(each[1]) for each in _nodes(node) if "master" in each[2] and len(each) > 8}
