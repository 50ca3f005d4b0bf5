"""`state.redis`: a hash for each key in Redis, in daprd's own layout: either can go on with it.

Metadata: that of `redis_client.py`, and `ttlInSeconds`, for items that have no TTL of their own.

Layout: components-contrib, state/redis: the fields `data`, `version` (counted up by every write,
and the ETag) and `first-write`, there once somebody wrote with that concurrency: such a key takes
no write without its ETag any more. What is no hash is a plain value of an older daprd.

Its rules are daprd's, where they are not those of other stores too: an ETag on a key that is not
there fits, `last-write` asks for none, an ETag of `0` is none, a write without a TTL leaves the key
the one it has. A transaction is stricter than daprd's: it is all or nothing, and `first-write`
counts in it. In a cluster its keys are to be in one slot, by a {hash tag} in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, cast

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.redis_client import RedisClient, RedisError
from meshproxy.dapr.state.store import (
    ETAG,
    TRANSACTIONAL,
    TTL,
    DeleteRequest,
    EtagInvalid,
    EtagMismatch,
    GetRequest,
    Operation,
    Outcome,
    SetRequest,
    StateItem,
    StateStoreError,
    is_json,
)
from meshproxy.dapr.state.ttl import TTL_IN_SECONDS, parse_ttl

ALL: Final = "all"
EACH: Final = "each"
_FIELDS: Final = 5  # for each key in ARGV
_SCRIPT: Final = """
local mode = ARGV[1]
local function field(at, n) return ARGV[1 + (at - 1) * 5 + n] end
local function allowed(at)
  local key, etag = KEYS[at], field(at, 2)
  local version = redis.pcall('HGET', key, 'version')
  if type(version) == 'table' then version = false end
  if not version then return true end
  if etag ~= '' then return version == etag end
  if field(at, 1) == 'delete' then return true end
  return field(at, 3) == '' and redis.call('HEXISTS', key, 'first-write') == 0
end
local function apply(at)
  local key = KEYS[at]
  if field(at, 1) == 'delete' then redis.call('DEL', key) return end
  if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
  redis.call('HSET', key, 'data', field(at, 4))
  if field(at, 3) ~= '' then redis.call('HSET', key, 'first-write', '0') end
  redis.call('HINCRBY', key, 'version', 1)
  local ttl = field(at, 5)
  if ttl == '0' then redis.call('PERSIST', key)
  elseif ttl ~= '' then redis.call('EXPIRE', key, ttl) end
end
local outcomes = {}
for at = 1, #KEYS do
  outcomes[at] = allowed(at) and 1 or 0
  if mode == 'each' and outcomes[at] == 1 then apply(at) end
  if mode == 'all' and outcomes[at] == 0 then return {0} end
end
if mode == 'all' then for at = 1, #KEYS do apply(at) end end
return outcomes
"""
"""KEYS: one for each operation. ARGV: the mode, then five for each: operation, ETag, whether it is
a first-write, data, TTL. Answers 1 for what was done; nothing at all is done where one of `all` may
not be. One script run, so one atomic step: the TTL is never missing, as it can be where EXPIRE is a
command of its own."""

_WAIT_MS: Final = 1000


class RedisStateStore:
    """See the module."""

    features: frozenset[str] = frozenset({ETAG, TRANSACTIONAL, TTL})
    multi_max_size: int | None = None

    def __init__(self, context: ComponentContext) -> None:
        self._name = context.name
        self._client: RedisClient | None = None
        self._script: Any = None
        self._ttl: int | None = None
        self._replicas = 0
        self._has_json = False

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        self._read(metadata)

    def _read(self, metadata: Metadata) -> RedisClient:
        if "queryIndexes" in metadata:
            raise ComponentError("the metadata 'queryIndexes' is not supported")
        self._ttl = (parse_ttl(metadata) or 0) if metadata.get(TTL_IN_SECONDS) else None
        return RedisClient(metadata, self._name)

    async def init(self, metadata: Metadata) -> None:
        """Connect, and ask the server what it is."""
        client = self._read(metadata)
        await self.close()
        self._client = client
        await client.open()
        self._script = client.redis.register_script(_SCRIPT)
        if not client.clustered:  # there each slot has its own
            info: dict[str, Any] = await client.call(client.redis.info("replication"))
            self._replicas = int(info.get("connected_slaves", 0))
        self._has_json = await _has_json(client)

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def get(self, request: GetRequest) -> StateItem | None:
        """The item of a key."""
        (item,) = await self.bulk_get([request])
        if isinstance(item, ComponentError):
            raise item
        return item

    async def bulk_get(self, requests: Sequence[GetRequest]) -> list[StateItem | Outcome]:
        """The items of several keys, in one round trip."""
        client = self._open()

        async def read() -> list[Any]:
            pipe = client.redis.pipeline(transaction=False)
            for request in requests:
                pipe.hmget(request.key, ["data", "version"])
            return cast("list[Any]", await pipe.execute(raise_on_error=False))

        answers = await client.repeat(read)
        found: list[StateItem | Outcome] = []
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, RedisError):
                found.append(await self._plain(request.key))
            elif answer[0] is None:
                found.append(None)
            else:
                found.append(_item(request.key, answer[0], answer[1] or b""))
        return found

    async def set(self, request: SetRequest) -> None:
        """Write a key."""
        await self._one(request)

    async def delete(self, request: DeleteRequest) -> None:
        """Remove a key."""
        await self._one(request)

    async def bulk(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Each by itself, in one round trip."""
        outcomes: list[Outcome] = []
        wanted: list[Operation] = []
        for operation in operations:
            try:
                self._check(operation)
            except ComponentError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
                wanted.append(operation)
        done = iter(await self._run_each(wanted))
        return [next(done) if outcome is None else outcome for outcome in outcomes]

    async def multi(self, operations: Sequence[Operation]) -> None:
        """All or nothing."""
        for operation in operations:
            self._check(operation)
        if len(self._open().groups([each.key for each in operations])) > 1:
            raise StateStoreError(
                "the keys of a transaction are in several slots of the cluster; "
                "a {hash tag} in them puts them into one"
            )
        if not all(await self._run(ALL, operations)):
            raise EtagMismatch

    # -- parts -------------------------------------------------------------------------------

    async def _one(self, operation: Operation) -> None:
        self._check(operation)
        if not all(await self._run(ALL, [operation])):
            raise _refused(operation)

    async def _run_each(self, operations: Sequence[Operation]) -> list[Outcome]:
        """In one script where that can be, else in one for each slot of the cluster."""
        outcomes: list[Outcome] = [None] * len(operations)

        async def run(places: list[int]) -> None:
            try:
                done = await self._run(EACH, [operations[place] for place in places])
            except ComponentError as error:
                if len(places) == len(operations):
                    raise
                outcomes_here: list[Outcome] = [error] * len(places)
            else:
                outcomes_here = [
                    None if each else _refused(operations[place])
                    for each, place in zip(done, places, strict=True)
                ]
            for place, outcome in zip(places, outcomes_here, strict=True):
                outcomes[place] = outcome

        keys = [operation.key for operation in operations]
        await asyncio.gather(*map(run, self._open().groups(keys)))
        return outcomes

    async def _run(self, mode: str, operations: Sequence[Operation]) -> list[int]:
        if not operations:
            return []
        client = self._open()
        keys = [operation.key for operation in operations]
        arguments: list[str | bytes | int] = [mode]
        for operation in operations:
            arguments += self._fields(operation)
        strong = any(each.consistency == "strong" for each in operations)
        if client.clustered:
            script = ("EVAL", _SCRIPT, len(keys), *keys, *arguments)
            run = client.redis.and_wait(keys[0], script, _WAIT_MS) if strong else None
            return cast("list[int]", await client.call(run or client.command(*script)))
        if strong and self._replicas:
            return await client.call(self._and_wait(keys, arguments))
        # Not repeated: a write whose answer was lost may have happened, and then fits no ETag.
        return cast("list[int]", await client.call(self._script(keys=keys, args=arguments)))

    async def _and_wait(self, keys: list[str], arguments: list[Any]) -> list[int]:
        """WAIT is about its own connection, so both go there."""
        pipe: Any = self._open().redis.pipeline(transaction=False)
        pipe.eval(_SCRIPT, len(keys), *keys, *arguments)
        pipe.execute_command("WAIT", self._replicas, _WAIT_MS)
        return cast("list[int]", (await pipe.execute())[0])

    def _fields(self, operation: Operation) -> tuple[str | bytes | int, ...]:
        if isinstance(operation, DeleteRequest):
            # As a text, so that one which is no number fits nothing.
            return ("delete", "" if operation.etag == "0" else operation.etag or "", "", "", "")
        etag = "" if operation.concurrency == "last-write" else (operation.etag or "").lstrip("0")
        first = "1" if operation.concurrency == "first-write" else ""
        return ("set", etag, first, operation.value, self._seconds(operation))

    def _seconds(self, operation: SetRequest) -> int | str:
        """For the script: 0 ends the key's TTL, nothing leaves it."""
        if operation.metadata.get(TTL_IN_SECONDS) or operation.ttl is not None:
            return operation.ttl or 0
        return "" if self._ttl is None else self._ttl

    def _check(self, operation: Operation) -> None:
        if isinstance(operation, SetRequest) and operation.concurrency != "last-write":
            etag = operation.etag
            if etag and not (etag.isascii() and etag.isdecimal()):
                raise EtagInvalid(f"invalid etag value: '{etag}' is not a number")
        if self._has_json and operation.metadata.get("contentType") == "application/json":
            raise StateStoreError("values of the RedisJSON module are not supported")

    async def _plain(self, key: str) -> StateItem | Outcome:
        """A value that is no hash: written by a daprd of before ETags."""
        client = self._open()
        try:
            data = cast("bytes | None", await client.repeat(lambda: _get(client, key)))
        except ComponentError as error:
            return error
        return None if data is None else _item(key, data, b"")

    def _open(self) -> RedisClient:
        if self._client is None:
            raise StateStoreError(f"{self._name} is closed")
        return self._client


def _refused(operation: Operation) -> ComponentError:
    """Why the script has not done it. Without an ETag it was a key of a first-write."""
    if operation.etag or isinstance(operation, DeleteRequest):
        return EtagMismatch()
    return StateStoreError(f"failed to set key {operation.key}")


def _get(client: RedisClient, key: str) -> Awaitable[Any]:
    return cast("Awaitable[Any]", client.redis.get(key))


def _item(key: str, data: bytes, version: bytes) -> StateItem:
    """Redis does not keep whether a value is the caller's bytes: what is no JSON is."""
    return StateItem(key, data, version.decode(), binary=not is_json(data))


async def _has_json(client: RedisClient) -> bool:
    """Whether daprd would keep JSON in the module's own type. A server may hide its modules."""
    try:
        modules = await client.command("MODULE", "LIST")
    except RedisError:
        return False
    return "rejson" in str(modules).lower()
