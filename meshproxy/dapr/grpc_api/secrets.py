"""Secrets over gRPC. Knows the messages; the meaning is `api/secrets.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.grpc_api.method import method

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _get(api: Api, request: Any) -> dict[str, Any]:
    metadata = dict(request.metadata)
    return {"data": dict(await api.secrets.get_secret(request.store_name, request.key, metadata))}


async def _get_bulk(api: Api, request: Any) -> dict[str, Any]:
    secrets = await api.secrets.get_bulk_secret(request.store_name, dict(request.metadata))
    return {"data": {name: {"secrets": dict(secret)} for name, secret in secrets.items()}}


METHODS: Final = (method("GetSecret", _get), method("GetBulkSecret", _get_bulk))
