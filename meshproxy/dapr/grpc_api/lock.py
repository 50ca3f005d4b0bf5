"""Locks over gRPC. Knows the messages; the meaning is `api/lock.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.grpc_api.method import method

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _try_lock(api: Api, request: Any) -> dict[str, Any]:
    success = await api.lock.try_lock(
        request.store_name, request.resource_id, request.lock_owner, request.expiry_in_seconds
    )
    return {"success": success}


async def _unlock(api: Api, request: Any) -> dict[str, Any]:
    status = await api.lock.unlock(request.store_name, request.resource_id, request.lock_owner)
    return {"status": int(status)}


METHODS: Final = (method("TryLockAlpha1", _try_lock), method("UnlockAlpha1", _unlock))
