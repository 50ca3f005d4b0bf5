"""Metadata and shutdown over gRPC. Knows the messages; the meaning is `api/sidecar.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.grpc_api.method import method

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _get_metadata(api: Api, request: Any) -> dict[str, Any]:
    shown = api.sidecar.get_metadata()
    fields = {
        "id": shown["id"],
        "runtime_version": shown["runtimeVersion"],
        "registered_components": shown["components"],
        "extended_metadata": shown["extended"],
    }
    app = shown.get("appConnectionProperties")
    if app is not None:
        fields["app_connection_properties"] = {
            "port": app["port"],
            "protocol": app["protocol"],
            "channel_address": app["channelAddress"],
        }
    return fields


async def _set_metadata(api: Api, request: Any) -> None:
    api.sidecar.set_metadata(request.key, request.value)


async def _shutdown(api: Api, request: Any) -> None:
    api.sidecar.shutdown(force=False)


METHODS: Final = (
    method("GetMetadata", _get_metadata),
    method("SetMetadata", _set_metadata),
    method("Shutdown", _shutdown),
)
