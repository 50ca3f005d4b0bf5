"""Output bindings over HTTP. Knows the path and form; the meaning is `api/bindings.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.bindings.binding import Answered, BindingData, metadata_headers
from meshproxy.dapr.http_api.document import Document
from meshproxy.dapr.http_api.messages import (
    JSON,
    NO_CONTENT,
    HttpRequest,
    HttpResponse,
    error_response,
)
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _invoke(api: Api, request: HttpRequest) -> HttpResponse:
    document = Document(request.json())
    operation = document.text("operation")
    body = orjson.dumps(document.value("data"))  # `null` where there is none, as in daprd
    metadata = dict(document.texts("metadata"))
    for name in ("traceparent", "tracestate", "baggage"):
        value = request.headers.joined(name.encode())
        if value is not None:
            metadata[name] = value.decode("latin-1")
    data = BindingData(body, metadata)
    try:
        answer = await api.bindings.invoke(request.params["name"], operation, data)
    except ApiError as error:
        if not isinstance(error.__cause__, Answered):
            raise
        response = error_response(error)
        shown = metadata_headers(error.__cause__.metadata)
        return HttpResponse(response.status, response.body, (*response.headers, *shown))
    if answer is None:
        return NO_CONTENT
    return HttpResponse(
        200, answer.data, ((b"content-type", JSON), *metadata_headers(answer.metadata))
    )


ENDPOINTS: Final = (endpoint("POST PUT", "/v1.0/bindings/{name}", _invoke, "InvokeBinding"),)
