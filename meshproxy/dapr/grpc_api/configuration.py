"""Configuration over gRPC. Knows the messages; the meaning is `api/configuration.py`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api.configuration import UNSUBSCRIBE
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.configuration.configuration_store import Items
from meshproxy.dapr.grpc_api.message_stream import MessageStream
from meshproxy.dapr.grpc_api.method import method, stream_method

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _get(api: Api, request: Any) -> dict[str, Any]:
    keys, metadata = list(request.keys), dict(request.metadata)
    return {"items": _shown(await api.configuration.get(request.store_name, keys, metadata))}


async def _subscribe(api: Api, stream: MessageStream) -> None:
    """The first message has the id alone; the end of the call ends the subscription."""
    request = await stream.receive()
    if request is None:
        return
    begun = asyncio.Event()

    def handler(name: str) -> Callable[[Items], Awaitable[None]]:
        async def tell(items: Items) -> None:
            await begun.wait()
            stream.send(id=name, items=_shown(items))

        return tell

    store, configuration = request.store_name, api.configuration
    keys, metadata = list(request.keys), dict(request.metadata)
    name = await configuration.subscribe(store, keys, metadata, handler)
    try:
        stream.send(id=name)
        begun.set()
        await configuration.until_ended(name)
    finally:
        with suppress(ApiError):  # it may have been ended by its id
            await configuration.unsubscribe(name)


async def _unsubscribe(api: Api, request: Any) -> dict[str, Any]:
    try:
        await api.configuration.unsubscribe(request.id)
    except ApiError as error:
        if error.code != UNSUBSCRIBE:
            raise
        return {"ok": False, "message": error.message.replace(f" with id {request.id}", "")}
    return {"ok": True}


def _shown(items: Items) -> dict[str, Any]:
    return {
        key: {"value": item.value, "version": item.version, "metadata": dict(item.metadata)}
        for key, item in items.items()
    }


METHODS: Final = tuple(
    each
    for version in ("", "Alpha1")
    for each in (
        method(f"GetConfiguration{version}", _get),
        stream_method(f"SubscribeConfiguration{version}", _subscribe),
        method(f"UnsubscribeConfiguration{version}", _unsubscribe),
    )
)
