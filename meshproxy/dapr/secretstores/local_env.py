"""`secretstores.local.env`: the environment of the sidecar as secrets. Knows no other store.

Metadata: `prefix`, put before the name asked for. What is the sidecar's own is not given out: the
app's token, and everything that begins with `DAPR_`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from meshproxy.dapr.component import ComponentContext, Metadata
from meshproxy.dapr.environment import is_private
from meshproxy.dapr.secretstores.secret_store import Secret


class LocalEnvSecretStore:
    """See the module."""

    features: frozenset[str] = frozenset()

    def __init__(self, context: ComponentContext) -> None:
        self._prefix = ""

    async def init(self, metadata: Metadata) -> None:
        """Take the prefix."""
        self._prefix = metadata.get("prefix", "")

    async def close(self) -> None:
        """Nothing is held."""

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Secret:
        """The variable, empty where it is not set, as in daprd."""
        variable = self._prefix + name
        return {name: "" if is_private(variable) else os.environ.get(variable, "")}

    async def bulk_get_secret(self, metadata: Mapping[str, str]) -> Mapping[str, Secret]:
        """Every variable that begins with the prefix, named without it."""
        start = len(self._prefix)
        return {
            name[start:]: {name[start:]: value}
            for name, value in os.environ.items()
            if name.startswith(self._prefix) and not is_private(name)
        }
