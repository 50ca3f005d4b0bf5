"""`spec.secrets.scopes` of a Configuration: which secrets the app may read. Knows no store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretScope:
    """The rules of one store; `allowed_by_default` is `defaultAccess`."""

    store: str
    allowed_by_default: bool = True
    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()


class SecretScopes:
    """The rules of all stores. A store without one is open."""

    def __init__(self, scopes: Iterable[SecretScope] = ()) -> None:
        self._scopes = {scope.store: scope for scope in scopes}

    @property
    def stores(self) -> list[str]:
        """The stores that have rules."""
        return list(self._scopes)

    def allows(self, store: str, secret: str) -> bool:
        """Whether the app may read a secret.

        A list of what is allowed decides alone; without one, what is denied, then the default.
        """
        scope = self._scopes.get(store)
        if scope is None:
            return True
        if scope.allowed:
            return secret in scope.allowed
        return secret not in scope.denied and scope.allowed_by_default
