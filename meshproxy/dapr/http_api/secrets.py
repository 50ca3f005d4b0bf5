"""Secrets over HTTP. Knows the paths and forms; the meaning is `api/secrets.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.dapr.http_api.messages import NO_CONTENT, HttpRequest, HttpResponse, json_response
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _get(api: Api, request: HttpRequest) -> HttpResponse:
    store, name = request.params["store"], request.params["key"]
    secret = await api.secrets.get_secret(store, name, request.metadata)
    return json_response(dict(secret)) if secret else NO_CONTENT


async def _get_bulk(api: Api, request: HttpRequest) -> HttpResponse:
    secrets = await api.secrets.get_bulk_secret(request.params["store"], request.metadata)
    return json_response({name: dict(secret) for name, secret in secrets.items()})


ENDPOINTS: Final = (
    endpoint("GET", "/v1.0/secrets/{store}/bulk", _get_bulk, "GetBulkSecret"),
    endpoint("GET", "/v1.0/secrets/{store}/{key}", _get, "GetSecret"),
)
