"""State over HTTP. Knows the paths and forms; the meaning is `api/state.py`'s."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api_error import ApiError, Grpc, malformed
from meshproxy.dapr.http_api.messages import (
    JSON,
    NO_CONTENT,
    HttpRequest,
    HttpResponse,
    json_response,
)
from meshproxy.dapr.http_api.table import endpoint
from meshproxy.dapr.state.items import BulkItem, DeleteItem, Options, SaveItem
from meshproxy.dapr.state.store import StateItem
from meshproxy.dapr.state.ttl import TTL_EXPIRE_TIME, expire_time

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

_WRITE: Final = "POST PUT"


async def _get(api: Api, request: HttpRequest) -> HttpResponse:
    params = request.params
    consistency = request.first("consistency") or ""
    item = await api.state.get(params["store"], params["key"], consistency, request.metadata)
    if item is None or item.value == b"null":
        return NO_CONTENT
    headers = [(b"content-type", JSON)]
    if item.etag:
        headers.append((b"etag", item.etag.encode()))
    headers += [(f"metadata.{k}".encode(), v.encode()) for k, v in _metadata(item).items()]
    return HttpResponse(200, item.value, tuple(headers))


async def _save(api: Api, request: HttpRequest) -> HttpResponse:
    document = request.json()
    if not isinstance(document, list):
        raise malformed("expected a list of items")
    items = [save_item(each, request.metadata) for each in document]
    await api.state.save(request.params["store"], items)
    return NO_CONTENT


async def _delete(api: Api, request: HttpRequest) -> HttpResponse:
    options = Options(request.first("concurrency") or "", request.first("consistency") or "")
    item = DeleteItem(request.params["key"], request.header(b"if-match"), options, request.metadata)
    await api.state.delete(request.params["store"], [item])
    return NO_CONTENT


async def _get_bulk(api: Api, request: HttpRequest) -> HttpResponse:
    document = _object(request.json())
    keys = document.get("keys") or []
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise malformed("'keys' is not a list of texts")
    metadata = {**_texts(document.get("metadata"), "metadata"), **request.metadata}
    found = await api.state.get_bulk(request.params["store"], keys, metadata)
    return json_response([_bulk_item(each) for each in found])


async def _transact(api: Api, request: HttpRequest) -> HttpResponse:
    document = _object(request.json())
    shared = {**_texts(document.get("metadata"), "metadata"), **request.metadata}
    operations: list[SaveItem | DeleteItem] = []
    listed = document.get("operations") or []
    if not isinstance(listed, list):
        raise malformed("'operations' is not a list")
    for each in listed:
        operation = _object(each)
        kind, inner = operation.get("operation"), _object(operation.get("request"))
        if kind == "upsert":
            operations.append(save_item(inner, shared))
        elif kind == "delete":
            operations.append(_delete_item(inner, shared))
        else:
            text = f"operation type {kind} not supported"
            raise ApiError("ERR_NOT_SUPPORTED_STATE_OPERATION", text, 400, Grpc.UNIMPLEMENTED)
    await api.state.transact(request.params["store"], operations, request.trace)
    return NO_CONTENT


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


def save_item(document: Any, shared: Mapping[str, str]) -> SaveItem:
    """An item to write as JSON has it; the `shared` metadata win. Raises ApiError."""
    item = _object(document)
    return SaveItem(
        _key(item),
        orjson.dumps(item.get("value"), option=orjson.OPT_SORT_KEYS),
        etag=_etag(item),
        options=_options(item),
        metadata={**_texts(item.get("metadata"), "metadata"), **shared},
    )


def _delete_item(item: dict[str, Any], shared: Mapping[str, str]) -> DeleteItem:
    metadata = {**_texts(item.get("metadata"), "metadata"), **shared}
    return DeleteItem(_key(item), _etag(item), _options(item), metadata)


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise malformed("expected an object")
    return document


def _key(item: dict[str, Any]) -> str:
    key = item.get("key")
    if not isinstance(key, str) or not key:
        raise malformed("'key' is missing, or is not a text")
    return key


def _etag(item: dict[str, Any]) -> str | None:
    etag = item.get("etag")
    if etag is not None and not isinstance(etag, str):
        raise malformed("'etag' is not a text")
    return etag


def _options(item: dict[str, Any]) -> Options:
    options = _texts(item.get("options"), "options")
    return Options(options.get("concurrency", ""), options.get("consistency", ""))


def _texts(document: Any, name: str) -> dict[str, str]:
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(v, str) for v in document.values()):
        raise malformed(f"'{name}' is not an object of texts")
    return document


ENDPOINTS: Final = (
    endpoint(_WRITE, "/v1.0/state/{store}", _save),
    endpoint("GET", "/v1.0/state/{store}/{key}", _get),
    endpoint("DELETE", "/v1.0/state/{store}/{key}", _delete),
    endpoint(_WRITE, "/v1.0/state/{store}/bulk", _get_bulk),
    endpoint(_WRITE, "/v1.0/state/{store}/transaction", _transact),
    endpoint(_WRITE, "/v1.0-alpha1/state/{store}/query", _query),
)
