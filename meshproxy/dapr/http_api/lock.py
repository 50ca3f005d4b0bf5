"""Locks over HTTP. Knows the paths and forms; the meaning is `api/lock.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.dapr.http_api.document import ProtoDocument
from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse, json_response
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _try_lock(api: Api, request: HttpRequest) -> HttpResponse:
    message = ProtoDocument(request.body)
    expiry = message.integer("expiryInSeconds")
    resource, owner = message.text("resourceId"), message.text("lockOwner")
    taken = await api.lock.try_lock(request.params["store"], resource, owner, expiry)
    return json_response({"success": taken})


async def _unlock(api: Api, request: HttpRequest) -> HttpResponse:
    message = ProtoDocument(request.body)
    resource, owner = message.text("resourceId"), message.text("lockOwner")
    status = await api.lock.unlock(request.params["store"], resource, owner)
    return json_response({"status": int(status)})


ENDPOINTS: Final = (
    endpoint("POST", "/v1.0-alpha1/lock/{store}", _try_lock, "TryLock"),
    endpoint("POST", "/v1.0-alpha1/unlock/{store}", _unlock, "Unlock"),
)
