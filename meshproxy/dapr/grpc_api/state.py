"""State over gRPC. Knows the messages; the meaning is `api/state.py`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.grpc_api.method import method
from meshproxy.dapr.state.items import DeleteItem, Options, SaveItem
from meshproxy.dapr.state.store import StateItem
from meshproxy.dapr.state.ttl import TTL_EXPIRE_TIME, expire_time

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

# StateOptions.StateConcurrency and StateOptions.StateConsistency, by number.
_CONCURRENCY: Final = ("", "first-write", "last-write")
_CONSISTENCY: Final = ("", "eventual", "strong")
_JSON: Final = "application/json"


async def _get(api: Api, request: Any) -> dict[str, Any] | None:
    item = await api.state.get(
        request.store_name,
        request.key,
        _named(_CONSISTENCY, request.consistency),
        dict(request.metadata),
    )
    if item is None:
        return None
    return {"data": item.value, "etag": item.etag, "metadata": _metadata(item)}


async def _get_bulk(api: Api, request: Any) -> dict[str, Any] | None:
    found = await api.state.get_bulk(request.store_name, list(request.keys), dict(request.metadata))
    items: list[dict[str, Any]] = []
    for each in found:
        shown: dict[str, Any] = {"key": each.key, "error": each.error}
        if each.item is not None:
            item = each.item
            shown |= {"data": item.value, "etag": item.etag, "metadata": _metadata(item)}
        items.append(shown)
    return {"items": items}


async def _save(api: Api, request: Any) -> None:
    items = [save_item(each, {}) for each in request.states]
    if not all(item.key for item in items):
        text = "state key cannot be empty"
        raise ApiError("ERR_STATE_SAVE", text, 400, Grpc.INVALID_ARGUMENT)
    await api.state.save(request.store_name, items)


async def _delete(api: Api, request: Any) -> None:
    await api.state.delete(request.store_name, [_delete_item(request, {})])


async def _delete_bulk(api: Api, request: Any) -> None:
    items = [_delete_item(each, {}) for each in request.states]
    await api.state.delete(request.store_name, items, bulk=True)


async def _transact(api: Api, request: Any) -> None:
    shared = dict(request.metadata)
    operations: list[SaveItem | DeleteItem] = []
    for each in request.operations:
        if each.operationType == "upsert":
            operations.append(save_item(each.request, shared))
        elif each.operationType == "delete":
            operations.append(_delete_item(each.request, shared))
        else:
            text = f"operation type {each.operationType} not supported"
            raise ApiError("ERR_NOT_SUPPORTED_STATE_OPERATION", text, 400, Grpc.UNIMPLEMENTED)
    await api.state.transact(request.storeName, operations)


async def _query(api: Api, request: Any) -> dict[str, Any]:
    metadata = dict(request.metadata)
    found = await api.state.query(request.store_name, request.query.encode(), metadata)
    results = [{"key": i.key, "data": i.value, "etag": i.etag} for i in found.items]
    return {"results": results, "token": found.token}


def _metadata(item: StateItem) -> dict[str, str]:
    return {} if item.expires is None else {TTL_EXPIRE_TIME: expire_time(item.expires)}


def save_item(item: Any, shared: Mapping[str, str]) -> SaveItem:
    """A `StateItem`; the `shared` metadata win. Raises ApiError.

    Values are bytes as they are, but JSON where the metadata say that they are JSON.
    """
    metadata = {**item.metadata, **shared}
    value, binary = item.value, True
    if next((v for k, v in metadata.items() if k.lower() == "contenttype"), "") == _JSON:
        try:
            value = orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)
        except orjson.JSONDecodeError as error:
            text = f"the value of {item.key} is not JSON: {error}"
            raise ApiError("ERR_MALFORMED_REQUEST", text, 400, Grpc.INVALID_ARGUMENT) from None
        binary = False
    return SaveItem(item.key, value, binary, _etag(item), _options(item), metadata)


def _delete_item(item: Any, shared: Mapping[str, str]) -> DeleteItem:
    return DeleteItem(item.key, _etag(item), _options(item), {**item.metadata, **shared})


def _etag(item: Any) -> str | None:
    return item.etag.value if item.HasField("etag") else None


def _options(item: Any) -> Options:
    options = item.options
    return Options(
        _named(_CONCURRENCY, options.concurrency), _named(_CONSISTENCY, options.consistency)
    )


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


METHODS: Final = (
    method("GetState", _get),
    method("GetBulkState", _get_bulk),
    method("SaveState", _save),
    method("DeleteState", _delete),
    method("DeleteBulkState", _delete_bulk),
    method("ExecuteStateTransaction", _transact),
    method("QueryStateAlpha1", _query),
)
