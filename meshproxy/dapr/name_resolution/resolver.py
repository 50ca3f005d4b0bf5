"""The contract of name resolution: which sidecars stand beside an app. Knows no way to find out."""

from __future__ import annotations

from typing import Protocol

from meshproxy.dapr.component import Component


class NameResolver(Component, Protocol):
    """A name resolver. Addresses are `host:port`. Every method raises ComponentError."""

    async def register(self, address: str) -> None:
        """Tell where this app's sidecar is, again and again until `close`, which takes it back."""

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        """Where the sidecars of an app are, empty where there is none."""

    def forget(self, app_id: str, namespace: str) -> None:
        """An address did not answer: what is remembered of this app counts no more."""
