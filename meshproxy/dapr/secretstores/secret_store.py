"""The contract of a secret store. Knows no store, no scopes and no API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from meshproxy.dapr.component import Component, ComponentError

MULTIPLE_KEY_VALUES_PER_SECRET: Final = "MULTIPLE_KEY_VALUES_PER_SECRET"  # noqa: S105 (a word of the API)

Secret = Mapping[str, str]
"""The keys and values of one secret; a store of plain values has one key, the secret's name."""


class SecretNotFound(ComponentError):
    """There is no secret of this name."""


class SecretStore(Component, Protocol):
    """A secret store. Every method raises ComponentError."""

    features: frozenset[str]

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Secret:
        """One secret. Raises SecretNotFound."""

    async def bulk_get_secret(self, metadata: Mapping[str, str]) -> Mapping[str, Secret]:
        """All secrets by name."""
