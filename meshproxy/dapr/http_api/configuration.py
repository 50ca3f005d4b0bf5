"""Configuration over HTTP. Knows the paths and forms; the meaning is `api/configuration.py`'s."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from meshproxy.dapr.api.configuration import UNSUBSCRIBE
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.configuration.configuration_store import ConfigurationItem, Items
from meshproxy.dapr.http_api.messages import NO_CONTENT, HttpRequest, HttpResponse, json_response
from meshproxy.dapr.http_api.table import endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api
    from meshproxy.dapr.app_channel import AppChannel


async def _get(api: Api, request: HttpRequest) -> HttpResponse:
    store, keys = request.params["store"], request.all("key")
    items = await api.configuration.get(store, keys, request.metadata)
    return json_response(_shown(items)) if items else NO_CONTENT


async def _subscribe(api: Api, request: HttpRequest) -> HttpResponse:
    api.configuration.require(request.params["store"])
    channel = api.channel
    if channel is None:
        text = "app channel is not initialized. cannot subscribe to configuration updates"
        raise ApiError("ERR_APP_CHANNEL_NIL", text)
    store = request.params["store"]

    def handler(name: str) -> Callable[[Items], Awaitable[None]]:
        return lambda items: _tell(channel, store, name, items)

    keys = request.all("key")
    return json_response(
        {"id": await api.configuration.subscribe(store, keys, request.metadata, handler)}
    )


async def _tell(channel: AppChannel, store: str, name: str, items: Items) -> None:
    for key, item in items.items():
        body = orjson.dumps({"id": name, "items": _shown({key: item})})
        path = f"/configuration/{quote(store, safe='')}/{quote(key, safe='')}"
        headers = {"content-type": "application/json"}
        answer = await channel.send("POST", path, body, headers)
        if answer.status != 200:
            raise ComponentError(f"the app answered {answer.status} to POST {path}")


async def _unsubscribe(api: Api, request: HttpRequest) -> HttpResponse:
    api.configuration.require(request.params["store"])
    try:
        await api.configuration.unsubscribe(request.params["id"])
    except ApiError as error:
        if error.code != UNSUBSCRIBE:
            raise
        api.on_error(error)
        return json_response({"message": error.message}, 500)  # as daprd: no code, and no `ok`
    return json_response({"ok": True})


def _shown(items: Items) -> dict[str, dict[str, Any]]:
    return {key: _item(item) for key, item in items.items()}


def _item(item: ConfigurationItem) -> dict[str, Any]:
    """Without what is empty, as daprd writes it."""
    shown = {"value": item.value, "version": item.version, "metadata": dict(item.metadata)}
    return {name: value for name, value in shown.items() if value}


ENDPOINTS: Final = tuple(
    endpoint("GET", f"/{version}/configuration/{path}", operation, f"{verb}Configuration")
    for version in ("v1.0", "v1.0-alpha1")
    for path, operation, verb in (
        ("{store}", _get, "Get"),
        ("{store}/subscribe", _subscribe, "Subscribe"),
        ("{store}/{id}/unsubscribe", _unsubscribe, "Unsubscribe"),
    )
)
