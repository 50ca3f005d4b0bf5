"""State over HTTP. Knows the paths and forms; the meaning is `api/state.py`'s."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api.state_errors import IllegalKeyName
from meshproxy.dapr.api_error import ApiError, Grpc, malformed
from meshproxy.dapr.http_api.document import Document, items
from meshproxy.dapr.http_api.messages import (
    JSON,
    NO_CONTENT,
    HttpRequest,
    HttpResponse,
    json_response,
)
from meshproxy.dapr.http_api.table import Operation, endpoint
from meshproxy.dapr.state.items import BulkItem, DeleteItem, Options, SaveItem
from meshproxy.dapr.state.store import StateItem
from meshproxy.dapr.state.ttl import TTL_EXPIRE_TIME, expire_time

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

_WRITE: Final = "POST PUT"


async def _get(api: Api, request: HttpRequest) -> HttpResponse:
    params = request.params
    api.state.require(params["store"])
    consistency = request.first("consistency") or ""
    item = await api.state.get(params["store"], params["key"], consistency, request.metadata)
    if item is None:
        return NO_CONTENT
    headers = [(b"content-type", JSON)]
    if item.etag:
        headers.append((b"etag", item.etag.encode()))
    headers += [(f"metadata.{k}".encode(), v.encode()) for k, v in _metadata(item).items()]
    return HttpResponse(200, item.value, tuple(headers))


async def _save(api: Api, request: HttpRequest) -> HttpResponse:
    store = request.params["store"]
    api.state.require(store)
    listed = items(request.json(), "expected a list of items")
    await api.state.save(store, [save_item(each, request.metadata) for each in listed])
    return NO_CONTENT


async def _delete(api: Api, request: HttpRequest) -> HttpResponse:
    api.state.require(request.params["store"])
    options = Options(request.first("concurrency") or "", request.first("consistency") or "")
    item = DeleteItem(request.params["key"], request.header(b"if-match"), options, request.metadata)
    await api.state.delete(request.params["store"], [item])
    return NO_CONTENT


async def _get_bulk(api: Api, request: HttpRequest) -> HttpResponse:
    store = request.params["store"]
    api.state.require(store)
    document = Document(request.json())
    keys = document.items("keys")
    if not all(isinstance(key, str) for key in keys):
        raise malformed("'keys' is not a list of texts")
    document.integer("parallelism")
    metadata = {**document.texts("metadata"), **request.metadata}
    found = await api.state.get_bulk(store, keys, metadata)
    return json_response([_bulk_item(each) for each in found])


async def _transact(api: Api, request: HttpRequest) -> HttpResponse:
    store = request.params["store"]
    api.state.require(store, transactions=True)
    document = Document(request.json())
    document.texts("metadata")
    operations = [_operation(each, request.metadata) for each in document.items("operations")]
    await api.state.transact(store, operations, request.trace)
    return NO_CONTENT


def _operation(value: Any, shared: Mapping[str, str]) -> SaveItem | DeleteItem:
    """One operation. Metadata of the whole transaction are none of its own, only the query's."""
    document = Document(value)
    kind, inner = document.text("operation"), document.value("request")
    if kind == "upsert":
        return _upsert_item(inner, shared)
    if kind == "delete":
        return _delete_item(Document(inner), shared)
    text = f"operation type {kind} not supported"
    raise ApiError("ERR_NOT_SUPPORTED_STATE_OPERATION", text, 400, Grpc.UNIMPLEMENTED)


async def _query(api: Api, request: HttpRequest) -> HttpResponse:
    found = await api.state.query(request.params["store"], request.body, request.metadata)
    if not found.items:
        return NO_CONTENT
    shown: dict[str, Any] = {"results": [_query_item(each) for each in found.items]}
    return json_response({**shown, "token": found.token} if found.token else shown)


def _bulk_item(found: BulkItem) -> dict[str, Any]:
    shown: dict[str, Any] = {"key": found.key}
    item = found.item
    if found.error:
        shown["error"] = found.error
    if item is not None:
        shown["data"] = _json_value(item)
        if item.etag:
            shown["etag"] = item.etag
        if metadata := _metadata(item):
            shown["metadata"] = metadata
    return shown


def _query_item(item: StateItem) -> dict[str, Any]:
    return {"key": item.key, "data": _json_value(item), "etag": item.etag}


def _json_value(item: StateItem) -> Any:
    """The value to stand inside of JSON; bytes that are no JSON as base64, as in Go."""
    if item.binary:
        try:
            orjson.loads(item.value)
        except orjson.JSONDecodeError:
            return base64.b64encode(item.value).decode()
    return orjson.Fragment(item.value)


def _metadata(item: StateItem) -> dict[str, str]:
    return {} if item.expires is None else {TTL_EXPIRE_TIME: expire_time(item.expires)}


def save_item(value: Any, shared: Mapping[str, str]) -> SaveItem:
    """An item to write as JSON has it; the `shared` metadata win. Raises ApiError."""
    item = _upsert_item(value, shared)
    if not item.key:
        text = '"key" is a required field'
        raise ApiError("ERR_MALFORMED_REQUEST", text, 400, Grpc.INVALID_ARGUMENT)
    return item


def _upsert_item(value: Any, shared: Mapping[str, str]) -> SaveItem:
    """The same, whose key may be empty: in transactions daprd takes that."""
    item = Document(value)
    return SaveItem(
        item.text("key"),
        orjson.dumps(item.value("value"), option=orjson.OPT_SORT_KEYS),
        etag=item.optional_text("etag"),
        options=_options(item),
        metadata={**item.texts("metadata"), **shared},
    )


def _delete_item(item: Document, shared: Mapping[str, str]) -> DeleteItem:
    metadata = {**item.texts("metadata"), **shared}
    return DeleteItem(item.text("key"), item.optional_text("etag"), _options(item), metadata)


def _options(item: Document) -> Options:
    options = Document(item.value("options"))
    return Options(options.text("concurrency"), options.text("consistency"))


def _plainly(operation: Operation, field: str | None = None) -> Operation:
    """The operation with daprd's words for a key that may not be, which are HTTP's own."""

    async def act(api: Api, request: HttpRequest) -> HttpResponse:
        try:
            return await operation(api, request)
        except IllegalKeyName as error:
            raise error.over_http(field) from None

    return act


ENDPOINTS: Final = (
    endpoint(_WRITE, "/v1.0/state/{store}", _plainly(_save), "SaveState"),
    endpoint("GET", "/v1.0/state/{store}/{key}", _plainly(_get), "GetState"),
    endpoint("DELETE", "/v1.0/state/{store}/{key}", _plainly(_delete), "DeleteState"),
    endpoint(_WRITE, "/v1.0/state/{store}/bulk", _plainly(_get_bulk), "GetBulkState"),
    # Of a transaction's keys daprd has lost the name by then.
    endpoint(
        _WRITE,
        "/v1.0/state/{store}/transaction",
        _plainly(_transact, field=""),
        "ExecuteStateTransaction",
    ),
    endpoint(_WRITE, "/v1.0-alpha1/state/{store}/query", _query, "QueryStateAlpha1"),
)
