"""Locks over HTTP. Knows the paths and forms; the meaning is `api/lock.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api_error import malformed
from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse, json_response
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _try_lock(api: Api, request: HttpRequest) -> HttpResponse:
    document = _object(request)
    expiry = document.get("expiryInSeconds", 0)
    if not isinstance(expiry, int):
        raise malformed("'expiryInSeconds' is not a whole number")
    resource, owner = _text(document, "resourceId"), _text(document, "lockOwner")
    taken = await api.lock.try_lock(request.params["store"], resource, owner, expiry)
    return json_response({"success": taken})


async def _unlock(api: Api, request: HttpRequest) -> HttpResponse:
    document = _object(request)
    resource, owner = _text(document, "resourceId"), _text(document, "lockOwner")
    status = await api.lock.unlock(request.params["store"], resource, owner)
    return json_response({"status": int(status)})


def _object(request: HttpRequest) -> dict[str, Any]:
    document = request.json()
    if not isinstance(document, dict):
        raise malformed("expected an object")
    return document


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise malformed(f"'{name}' is not a text")
    return value


ENDPOINTS: Final = (
    endpoint("POST", "/v1.0-alpha1/lock/{store}", _try_lock),
    endpoint("POST", "/v1.0-alpha1/unlock/{store}", _unlock),
)
