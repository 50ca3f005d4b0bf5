"""A state store that is plugged in. Knows no other kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from meshproxy.dapr.component import ComponentContext
from meshproxy.dapr.pluggable.component import Find, PluggableComponent
from meshproxy.dapr.pluggable.messages import CONCURRENCIES, CONSISTENCIES, message
from meshproxy.dapr.pluggable.process import CallError
from meshproxy.dapr.state.store import (
    TRANSACTIONAL,
    DeleteRequest,
    EtagInvalid,
    EtagMismatch,
    GetRequest,
    OneByOne,
    Operation,
    Outcome,
    SetRequest,
    StateItem,
    StateStoreError,
    is_json,
)

INVALID_ARGUMENT: Final = 3
FAILED_PRECONDITION: Final = 9
"""gRPC's statuses by which a component says what is wrong with an ETag."""
_TRANSACTIONS: Final = "TransactionalStateStore"
_MAX_SIZE: Final = "TransactionalStoreMultiMaxSize"
_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"


class PluggableStateStore(PluggableComponent, OneByOne):
    """See `StateStore`. Several writes are single ones: the bulk calls say nothing of each."""

    service = "StateStore"

    def __init__(self, find: Find, context: ComponentContext) -> None:
        super().__init__(find, context)
        self.multi_max_size: int | None = None

    async def start(self) -> None:
        """Begin, and ask about transactions where the process has them."""
        await super().start()
        if _TRANSACTIONS not in self.services:
            self.features -= {TRANSACTIONAL}
        elif _MAX_SIZE in self.services:
            empty = message("Empty")()
            answer = await self.process.call(
                _MAX_SIZE, "MultiMaxSize", empty, "MultiMaxSizeResponse"
            )
            self.multi_max_size = answer.max_size if answer.max_size > 0 else None

    async def get(self, request: GetRequest) -> StateItem | None:
        """The item of a key."""
        answer = await self._call("Get", _get(request), "GetResponse")
        return _item(request.key, answer)

    async def bulk_get(self, requests: Sequence[GetRequest]) -> list[StateItem | Outcome]:
        """The items in the order asked for, by one call."""
        request = message("BulkGetRequest")(items=map(_get, requests))
        answer = await self._call("BulkGet", request, "BulkGetResponse")
        found = {
            each.key: StateStoreError(each.error) if each.error else _item(each.key, each)
            for each in answer.items
        }
        return [found.get(request.key) for request in requests]

    async def set(self, request: SetRequest) -> None:
        """Write a key."""
        await self._call("Set", _set(request), etag=request.etag)

    async def delete(self, request: DeleteRequest) -> None:
        """Remove a key."""
        await self._call("Delete", _delete(request), etag=request.etag)

    async def multi(self, operations: Sequence[Operation]) -> None:
        """All in this order, or nothing."""
        one = message("TransactionalStateOperation")
        made = [
            one(set=_set(each)) if isinstance(each, SetRequest) else one(delete=_delete(each))
            for each in operations
        ]
        request = message("TransactionalStateRequest")(operations=made)
        etag = next((each.etag for each in operations if each.etag is not None), None)
        await self._call("Transact", request, service=_TRANSACTIONS, etag=etag)

    async def _call(
        self,
        method: str,
        request: Any,
        answer: str = "Empty",
        *,
        service: str = service,
        etag: str | None = None,
    ) -> Any:
        try:
            return await self.call(service, method, request, answer)
        except CallError as error:
            if etag is not None and error.status == FAILED_PRECONDITION:
                raise EtagMismatch(str(error)) from error
            if etag is not None and error.status == INVALID_ARGUMENT:
                raise EtagInvalid(str(error)) from error
            raise


def _options(request: Operation) -> Any:
    return message("StateOptions")(
        concurrency=CONCURRENCIES.index(request.concurrency),
        consistency=CONSISTENCIES.index(request.consistency),
    )


def _etag(etag: str | None) -> Any:
    return None if etag is None else message("Etag")(value=etag)


def _get(request: GetRequest) -> Any:
    consistency = CONSISTENCIES.index(request.consistency)
    return message("GetRequest")(
        key=request.key, metadata=request.metadata, consistency=consistency
    )


def _set(request: SetRequest) -> Any:
    metadata = dict(request.metadata)
    if request.ttl is not None:
        metadata["ttlInSeconds"] = str(request.ttl)
    return message("SetRequest")(
        key=request.key,
        value=request.value,
        etag=_etag(request.etag),
        metadata=metadata,
        options=_options(request),
        content_type=_BYTES if request.binary else _JSON,
    )


def _delete(request: DeleteRequest) -> Any:
    return message("DeleteRequest")(
        key=request.key,
        etag=_etag(request.etag),
        metadata=request.metadata,
        options=_options(request),
    )


def _item(key: str, answer: Any) -> StateItem | None:
    """As Dapr's components say that a key is not there: no data and no ETag."""
    if not answer.data and not answer.etag.value:
        return None
    return StateItem(key, answer.data, answer.etag.value, binary=not is_json(answer.data))
