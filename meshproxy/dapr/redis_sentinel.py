"""Connections to whichever Redis server is the master now, found by asking Sentinels. Knows no
component.

Each new connection asks. Sentinels end the connections of a master that they have demoted; one that
answers READONLY before that is let go of, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

Address = tuple[str, int]
_ASK: Final = "SENTINEL"


class Sentinels:
    """Those that watch one master. `connection_class` and `options` are of connections to them."""

    def __init__(
        self,
        addresses: Sequence[Address],
        name: str,
        connection_class: type[Connection],
        options: dict[str, Any],
    ) -> None:
        self._addresses = list(addresses)
        self._name = name
        self._class = connection_class
        self._options = options

    async def master(self) -> Address:
        """Where it is. Raises redis' ConnectionError where no Sentinel says it.

        Whoever has answered is asked first from then on; the others that it knows are asked last.
        """
        reasons = []
        for address in tuple(self._addresses):
            try:
                found, others = await self._asked(address)
            except (RedisError, OSError, TimeoutError) as error:
                said = str(error) or type(error).__name__
                reasons.append(f"{address[0]}:{address[1]}: {said}")
                continue
            if found is None:
                reasons.append(f"{address[0]}:{address[1]}: no master '{self._name}'")
                continue
            known = [address, *(each for each in self._addresses if each != address)]
            self._addresses = known + [each for each in others if each not in known]
            return found
        raise RedisConnectionError(f"no sentinel knows the master: {'; '.join(reasons)}")

    async def _asked(self, address: Address) -> tuple[Address | None, list[Address]]:
        host, port = address
        connection: Any = self._class(host=host, port=port, **self._options)
        try:
            await connection.connect()
            await connection.send_command(_ASK, "GET-MASTER-ADDR-BY-NAME", self._name)
            found = await connection.read_response()
            if found is None:
                return None, []
            await connection.send_command(_ASK, "SENTINELS", self._name)
            others = [_pairs(each) for each in await connection.read_response()]
        finally:
            await connection.disconnect()
        more = [(each[b"ip"].decode(), int(each[b"port"])) for each in others]
        return (found[0].decode(), int(found[1])), more


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def to_master(connection_class: type[Connection]) -> type[Connection]:
    """The same kind of connection, but to the master of its option `sentinels`."""

    class MasterConnection(connection_class):  # type: ignore[valid-type, misc]
        def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
            self._sentinels = sentinels
            super().__init__(**options)

        async def _connect(self) -> None:
            self.host, self.port = await self._sentinels.master()
            await super()._connect()

        async def read_response(self, *arguments: Any, **options: Any) -> Any:
            try:
                return await super().read_response(*arguments, **options)
            except ReadOnlyError as error:
                await self.disconnect(nowait=True)
                raise RedisConnectionError("the server is no longer the master") from error

    return MasterConnection
