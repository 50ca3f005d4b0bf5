"""Locks: take one, give it back. Knows no protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.key_prefix import IllegalKey, KeyPrefix
from meshproxy.dapr.lock.lock_store import UnlockStatus
from meshproxy.dapr.resiliency import LOCK
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.lock.lock_store import Lock

_PREFIX: Final = "lock||"


class LockApi:
    """TryLockAlpha1 and UnlockAlpha1."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def try_lock(self, store: str, resource: str, owner: str, expiry: int) -> bool:
        """Take a lock for `expiry` seconds; False where somebody has it."""
        if expiry <= 0:
            text = f"ExpiryInSeconds is not positive in lock store {store}"
            raise ApiError("ERR_MALFORMED_REQUEST", text, 400, Grpc.INVALID_ARGUMENT)
        found, prefix = self._find(store, resource, owner)
        try:
            key = _PREFIX + prefix.stored(resource)
            policy = self._sidecar.resiliency.outbound(store, LOCK)
            return await policy.run(lambda: found.try_lock(key, owner, expiry))
        except (ComponentError, IllegalKey) as error:
            raise ApiError("ERR_TRY_LOCK", f"failed to try acquiring lock: {error}") from error

    async def unlock(self, store: str, resource: str, owner: str) -> UnlockStatus:
        """Give a lock back."""
        found, prefix = self._find(store, resource, owner)
        try:
            key = _PREFIX + prefix.stored(resource)
            policy = self._sidecar.resiliency.outbound(store, LOCK)
            return await policy.run(lambda: found.unlock(key, owner))
        except (ComponentError, IllegalKey) as error:
            raise ApiError("ERR_UNLOCK", f"failed to release lock: {error}") from error

    def _find(self, store: str, resource: str, owner: str) -> tuple[Lock, KeyPrefix]:
        """The store, and how keys stand in it. The order of the checks is daprd's."""
        runtime = self._sidecar.runtime
        if not runtime.ready("lock"):
            text = "lock store is not configured"
            raise ApiError("ERR_LOCK_STORE_NOT_CONFIGURED", text, 500, Grpc.FAILED_PRECONDITION)
        for value, name in ((resource, "ResourceId"), (owner, "LockOwner")):
            if not value:
                text = f"{name} is empty in lock store {store}"
                raise ApiError("ERR_MALFORMED_REQUEST", text, 400, Grpc.INVALID_ARGUMENT)
        loaded = runtime.loaded("lock", store)
        if loaded is None:
            text = f"lock store {store} not found"
            raise ApiError("ERR_LOCK_STORE_NOT_FOUND", text, 400, Grpc.INVALID_ARGUMENT)
        prefix = KeyPrefix(loaded.metadata, store, runtime.identity)
        return cast("Lock", loaded.instance), prefix
