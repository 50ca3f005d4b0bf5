"""Configuration over gRPC. Knows the messages; the meaning is `api/configuration.py`'s."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api.configuration import UNSUBSCRIBE
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.configuration.configuration_store import ConfigurationItem, Items
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
    watcher = _Watcher(stream)
    store, configuration = request.store_name, api.configuration
    keys, metadata = list(request.keys), dict(request.metadata)
    name = await configuration.subscribe(store, keys, metadata, lambda _: watcher.tell)
    try:
        watcher.begin(name)
        await configuration.until_ended(name)
    finally:
        with suppress(ApiError):  # it may have been ended by its id
            await configuration.unsubscribe(name)


class _Watcher:
    """What a client is told. Where it does not keep up, of each key only the newest item waits."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._name = ""
        self._waiting: dict[str, ConfigurationItem] = {}
        stream.on_room = self._flush

    def begin(self, name: str) -> None:
        """The client may know now that it is subscribed: changes come after that."""
        self._name = name
        self._stream.send(id=name)
        self._flush()

    async def tell(self, items: Items) -> None:
        """Something has changed."""
        self._waiting.update(items)
        self._flush()

    def _flush(self) -> None:
        if self._name and self._waiting and not self._stream.full:
            waiting, self._waiting = self._waiting, {}
            self._stream.send(id=self._name, items=_shown(waiting))


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
