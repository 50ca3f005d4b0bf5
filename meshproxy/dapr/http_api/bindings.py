"""Output bindings over HTTP. Knows the path and form; the meaning is `api/bindings.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.api_error import malformed
from meshproxy.dapr.bindings.binding import BindingData
from meshproxy.dapr.http_api.messages import JSON, NO_CONTENT, HttpRequest, HttpResponse
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _invoke(api: Api, request: HttpRequest) -> HttpResponse:
    document = request.json()
    if not isinstance(document, dict):
        raise malformed("expected an object")
    operation = document.get("operation") or ""
    if not isinstance(operation, str):
        raise malformed("'operation' is not a text")
    data = document.get("data")
    body = b"" if data is None else orjson.dumps(data)
    metadata = {**_metadata(document), **request.metadata}
    for name in ("traceparent", "tracestate"):
        value = request.header(name.encode())
        if value is not None:
            metadata.setdefault(name, value)
    answer = await api.bindings.invoke(
        request.params["name"], operation, BindingData(body, metadata)
    )
    if answer is None:
        return NO_CONTENT
    headers = [
        (
            f"metadata.{name}".lower().encode("latin-1", "replace"),
            value.encode("latin-1", "replace"),
        )
        for name, value in answer.metadata.items()
        if value.isprintable()
    ]
    if not answer.data:
        return HttpResponse(204, b"", tuple(headers))
    return HttpResponse(200, answer.data, ((b"content-type", JSON), *headers))


def _metadata(document: dict[str, Any]) -> dict[str, str]:
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise malformed("'metadata' is not an object of texts")
    return metadata


ENDPOINTS: Final = (endpoint("POST PUT", "/v1.0/bindings/{name}", _invoke),)
