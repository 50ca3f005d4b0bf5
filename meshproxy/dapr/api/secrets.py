"""Secrets: one, or all that the app may see. Knows no protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.resiliency import SECRETSTORE
from meshproxy.dapr.secretstores.secret_store import Secret
from meshproxy.dapr.sidecar import Sidecar

if TYPE_CHECKING:
    from meshproxy.dapr.secretstores.secret_store import SecretStore

logger: Final = logging.getLogger("meshproxy.dapr.runtime")


class SecretsApi:
    """GetSecret and GetBulkSecret."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def get_secret(self, store: str, name: str, metadata: Mapping[str, str]) -> Secret:
        """One secret."""
        found = self._store(store)
        if not self._sidecar.secret_scopes.allows(store, name):
            text = f'access denied by policy to get "{name}" from "{store}"'
            raise ApiError("ERR_PERMISSION_DENIED", text, 403, Grpc.PERMISSION_DENIED)
        try:
            policy = self._sidecar.resiliency.outbound(store, SECRETSTORE)
            return await policy.run(lambda: found.get_secret(name, metadata))
        except ComponentError as error:
            text = f"failed getting secret with key {name} from secret store {store}: {error}"
            raise ApiError("ERR_SECRET_GET", text) from error

    async def get_bulk_secret(
        self, store: str, metadata: Mapping[str, str]
    ) -> Mapping[str, Secret]:
        """Every secret that the scopes allow."""
        found = self._store(store)
        try:
            policy = self._sidecar.resiliency.outbound(store, SECRETSTORE)
            secrets = await policy.run(lambda: found.bulk_get_secret(metadata))
        except ComponentError as error:
            text = f"failed getting secrets from secret store {store}: {error}"
            raise ApiError("ERR_SECRET_GET", text) from error
        allows = self._sidecar.secret_scopes.allows
        return {name: secret for name, secret in secrets.items() if allows(store, name)}

    def _store(self, name: str) -> SecretStore:
        runtime = self._sidecar.runtime
        found = runtime.find("secretstores", name)
        if found is not None:
            return cast("SecretStore", found)
        if not runtime.ready("secretstores"):
            text = "secret store is not configured"
            raise ApiError("ERR_SECRET_STORES_NOT_CONFIGURED", text, 500, Grpc.FAILED_PRECONDITION)
        text = f"failed finding secret store with key {name}"
        raise ApiError("ERR_SECRET_STORE_NOT_FOUND", text, 401, Grpc.INVALID_ARGUMENT)
