"""`state.in-memory`: a dict, gone with the process. Takes no metadata of its own.

No operation waits, so each is atomic without a lock.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Sequence
from typing import Final

from meshproxy.dapr.component import ComponentContext, Metadata
from meshproxy.dapr.state.store import (
    ETAG,
    TRANSACTIONAL,
    TTL,
    DeleteRequest,
    EtagMismatch,
    GetRequest,
    OneByOne,
    Operation,
    SetRequest,
    StateItem,
)

FEATURES: Final = frozenset({ETAG, TRANSACTIONAL, TTL})


class InMemoryStateStore(OneByOne):
    """See the module."""

    features = FEATURES
    multi_max_size: int | None = None

    def __init__(self, context: ComponentContext) -> None:
        self._clock = context.clock
        self._items: dict[str, StateItem] = {}
        self._ends: list[tuple[float, str]] = []

    async def init(self, metadata: Metadata) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._ends.clear()

    async def get(self, request: GetRequest) -> StateItem | None:
        """The item of a key."""
        return self._find(request.key)

    async def set(self, request: SetRequest) -> None:
        """Write a key."""
        self._check(request)
        self._set(request)

    async def delete(self, request: DeleteRequest) -> None:
        """Remove a key."""
        self._check(request)
        self._items.pop(request.key, None)

    async def multi(self, operations: Sequence[Operation]) -> None:
        """All or nothing: every ETag is looked at before anything changes."""
        for operation in operations:
            self._check(operation)
        for operation in operations:
            if isinstance(operation, SetRequest):
                self._set(operation)
            else:
                self._items.pop(operation.key, None)

    def _find(self, key: str) -> StateItem | None:
        item = self._items.get(key)
        if item is not None and item.expires is not None and item.expires <= self._clock():
            del self._items[key]
            return None
        return item

    def _check(self, request: Operation) -> None:
        found = self._find(request.key)
        if request.etag:
            if found is None:
                raise EtagMismatch(f"state not exist or expired for key={request.key}")
            if found.etag != request.etag:
                raise EtagMismatch(
                    f"state etag not match for key={request.key}: current={found.etag}, "
                    f"expect={request.etag}"
                )
        elif request.concurrency == "first-write" and found is not None:
            raise EtagMismatch("item already exists and no etag was passed")

    def _set(self, request: SetRequest) -> None:
        now = self._clock()
        expires = None if request.ttl is None else now + request.ttl
        # No count: a key that is removed and written again never has an ETag of before.
        self._items[request.key] = StateItem(
            request.key, request.value, str(uuid.uuid4()), request.binary, expires
        )
        # Whoever writes clears away what has ended: no timer, and no dead items that pile up.
        while self._ends and self._ends[0][0] <= now:
            self._find(heapq.heappop(self._ends)[1])
        if expires is not None:
            heapq.heappush(self._ends, (expires, request.key))
