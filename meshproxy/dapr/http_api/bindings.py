"""Output bindings over HTTP. Knows the path and form; the meaning is `api/bindings.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from meshproxy.dapr.bindings.binding import BindingData
from meshproxy.dapr.http_api.document import Document
from meshproxy.dapr.http_api.messages import JSON, NO_CONTENT, HttpRequest, HttpResponse
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _invoke(api: Api, request: HttpRequest) -> HttpResponse:
    document = Document(request.json())
    operation = document.text("operation")
    body = orjson.dumps(document.value("data"))  # `null` where there is none, as in daprd
    metadata = {**document.texts("metadata"), **request.metadata}
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


ENDPOINTS: Final = (endpoint("POST PUT", "/v1.0/bindings/{name}", _invoke),)
