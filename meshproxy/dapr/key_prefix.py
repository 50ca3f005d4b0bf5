"""The key under which a store keeps what an app calls by its own: `keyPrefix`. Knows no store.

Source: https://docs.dapr.io/developing-applications/building-blocks/state-management/howto-share-state/.
"""

from __future__ import annotations

from typing import Final

from meshproxy.dapr.component import ComponentError, Identity, Metadata

SEPARATOR: Final = "||"


class IllegalKey(ComponentError):
    """A key or a prefix contains the separator."""

    def __init__(self, key: str) -> None:
        super().__init__(f"input key/keyPrefix '{key}' can't contain '||'")


class KeyPrefix:
    """One component's strategy: `appid` (default), `name`, `namespace`, `none`, or any literal."""

    __slots__ = ("_start",)

    def __init__(self, metadata: Metadata, name: str, identity: Identity) -> None:
        """`name` is the component's. Raises IllegalKey for a literal with the separator."""
        # In lower case, as daprd has it, also where it is the prefix itself.
        strategy = metadata.get("keyPrefix", "").lower() or "appid"
        if SEPARATOR in strategy:
            raise IllegalKey(strategy)
        app = identity.app_id
        prefix = {
            "appid": app,
            "name": name,
            "namespace": f"{identity.namespace}.{app}" if identity.namespace else app,
            "none": "",
        }.get(strategy, strategy)
        self._start = prefix + SEPARATOR if prefix else ""

    def stored(self, key: str) -> str:
        """The key in the store. Raises IllegalKey."""
        if SEPARATOR in key:
            raise IllegalKey(key)
        return self._start + key

    @property
    def start(self) -> str:
        """What every stored key begins with; empty without a prefix."""
        return self._start

    def original(self, stored: str) -> str:
        """The app's own key again."""
        parts = stored.split(SEPARATOR)
        return parts[1] if len(parts) > 1 else stored
