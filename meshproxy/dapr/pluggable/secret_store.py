"""A secret store that is plugged in. Knows no other kind."""

from __future__ import annotations

from collections.abc import Mapping

from meshproxy.dapr.pluggable.component import PluggableComponent
from meshproxy.dapr.pluggable.messages import message
from meshproxy.dapr.secretstores.secret_store import Secret


class PluggableSecretStore(PluggableComponent):
    """See `SecretStore`."""

    service = "SecretStore"

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Secret:
        """One secret."""
        request = message("GetSecretRequest")(key=name, metadata=metadata)
        answer = await self.call(self.service, "Get", request, "GetSecretResponse")
        return dict(answer.data)

    async def bulk_get_secret(self, metadata: Mapping[str, str]) -> Mapping[str, Secret]:
        """All secrets by name."""
        request = message("BulkGetSecretRequest")(metadata=metadata)
        answer = await self.call(self.service, "BulkGet", request, "BulkGetSecretResponse")
        return {name: dict(answer.data[name].secrets) for name in answer.data}
