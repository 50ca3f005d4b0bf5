"""Health, metadata and shutdown over HTTP. Knows the paths; the meaning is `api/sidecar.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.dapr.http_api.messages import NO_CONTENT, HttpRequest, HttpResponse, json_response
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _healthz(api: Api, request: HttpRequest) -> HttpResponse:
    api.sidecar.check_health(request.first("appid"))
    return NO_CONTENT


async def _outbound(api: Api, request: HttpRequest) -> HttpResponse:
    api.sidecar.check_outbound_health()
    return NO_CONTENT


async def _get_metadata(api: Api, request: HttpRequest) -> HttpResponse:
    return json_response(api.sidecar.get_metadata())


async def _put_metadata(api: Api, request: HttpRequest) -> HttpResponse:
    api.sidecar.set_metadata(request.params["key"], request.body.decode("utf-8", "replace"))
    return NO_CONTENT


async def _shutdown(api: Api, request: HttpRequest) -> HttpResponse:
    force = (request.header(b"dapr-force-shutdown") or "").lower() == "true"
    api.sidecar.shutdown(force=force)
    return NO_CONTENT


PUBLIC: Final = (
    endpoint("GET", "/v1.0/healthz", _healthz, "Healthz", public=True),
    endpoint("GET", "/v1.0/healthz/outbound", _outbound, "HealthzOutbound", public=True),
    endpoint("GET", "/v1.0/metadata", _get_metadata, "GetMetadata"),
)
ENDPOINTS: Final = (
    *PUBLIC,
    endpoint("PUT", "/v1.0/metadata/{key}", _put_metadata, "PutMetadata"),
    endpoint("POST", "/v1.0/shutdown", _shutdown, "Shutdown"),
)
