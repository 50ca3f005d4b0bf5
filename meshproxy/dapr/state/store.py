"""The contract of a state store: requests, answers, errors. Knows no store and no API.

Keys are as stored, prefix included (`key_prefix.py`). A value is bytes: JSON text, or, where it is
`binary`, bytes of the caller's own that the store may not interpret. Features are the words of
Dapr's metadata API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

import orjson

from meshproxy.dapr.component import Component, ComponentError, Permanent

if TYPE_CHECKING:
    from meshproxy.dapr.state.query import Query

ETAG: Final = "ETAG"
TRANSACTIONAL: Final = "TRANSACTIONAL"
QUERY_API: Final = "QUERY_API"
TTL: Final = "TTL"
DELETE_WITH_PREFIX: Final = "DELETE_WITH_PREFIX"
KEYS_LIKE: Final = "KEYS_LIKE"
ACTOR: Final = "ACTOR"

Concurrency = Literal["", "first-write", "last-write"]
Consistency = Literal["", "strong", "eventual"]


_MISMATCH: Final = "possible etag mismatch. error from state store"


class EtagMismatch(Permanent):
    """Somebody else has changed the key since the ETag was read. `reason`: what the store knows."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(f"{_MISMATCH}: {reason}" if reason else _MISMATCH)


class EtagInvalid(Permanent):
    """The ETag cannot be one of this store's."""


class StateStoreError(ComponentError):
    """The store has refused the request, or could not do it."""


@dataclass(frozen=True, slots=True)
class GetRequest:
    """One key to read."""

    key: str
    consistency: Consistency = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateItem:
    """What is stored under a key. `etag` is empty where the store has none.

    `expires` is the time of its end in seconds since 1970, None where it has none.
    """

    key: str
    value: bytes
    etag: str = ""
    binary: bool = False
    expires: float | None = None


def is_json(data: bytes) -> bool:
    """Whether a value is JSON, where the store does not say: what is none is the caller's bytes."""
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SetRequest:
    """One key to write. `etag` None: none was given, which is not the same as an empty one.

    `ttl` is in seconds; None and -1 both end an older one.
    """

    key: str
    value: bytes
    binary: bool = False
    etag: str | None = None
    concurrency: Concurrency = ""
    consistency: Consistency = ""
    ttl: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """One key to remove; that it is not there is no error."""

    key: str
    etag: str | None = None
    concurrency: Concurrency = ""
    consistency: Consistency = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


Operation = SetRequest | DeleteRequest
Outcome = ComponentError | None
"""What became of one entry of a bulk request."""


class StateStore(Component, Protocol):
    """A state store. Every method raises ComponentError, or one of its kinds above."""

    features: frozenset[str]
    multi_max_size: int | None
    """How many operations a transaction may have; None for any number."""

    async def get(self, request: GetRequest) -> StateItem | None:
        """The item of a key, None where there is none or it has expired."""

    async def set(self, request: SetRequest) -> None:
        """Write a key."""

    async def delete(self, request: DeleteRequest) -> None:
        """Remove a key."""

    async def bulk_get(self, requests: Sequence[GetRequest]) -> list[StateItem | Outcome]:
        """The items in the order asked for: None where a key is not there, or its error."""

    async def bulk(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do each operation by itself; those that succeed count even where others fail."""

    async def multi(self, operations: Sequence[Operation]) -> None:
        """All in this order, or nothing; a store without TRANSACTIONAL is never asked."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The items of one page; `token` asks for the next one, empty where there are no pages."""

    items: tuple[StateItem, ...]
    token: str = ""


class Queriable(Protocol):
    """What a store with QUERY_API does besides."""

    async def query(self, query: Query, prefix: str) -> QueryResult:
        """The items that fit, of those whose keys begin with `prefix`."""


class OneByOne:
    """`bulk_get` and `bulk` by single calls, for stores that have nothing better."""

    async def bulk_get(
        self: StateStore,
        requests: Sequence[GetRequest],
    ) -> list[StateItem | Outcome]:
        """Ask for each key."""
        found: list[StateItem | Outcome] = []
        for request in requests:
            try:
                found.append(await self.get(request))
            except ComponentError as error:
                found.append(error)
        return found

    async def bulk(self: StateStore, operations: Sequence[Operation]) -> list[Outcome]:
        """Do each operation."""
        outcomes: list[Outcome] = []
        for operation in operations:
            try:
                if isinstance(operation, SetRequest):
                    await self.set(operation)
                else:
                    await self.delete(operation)
            except ComponentError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
        return outcomes
