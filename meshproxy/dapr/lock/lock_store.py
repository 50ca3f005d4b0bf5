"""The contract of a lock store. Knows no store and no API."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from meshproxy.dapr.component import Component


class UnlockStatus(IntEnum):
    """What became of an unlock; the numbers are those of the API."""

    SUCCESS = 0
    LOCK_DOES_NOT_EXIST = 1
    LOCK_BELONGS_TO_OTHERS = 2
    INTERNAL_ERROR = 3


class Lock(Component, Protocol):
    """A lock store. Resources are as stored, prefix included. Methods raise ComponentError."""

    async def try_lock(self, resource: str, owner: str, expiry: int) -> bool:
        """Take the lock for `expiry` seconds; False where somebody has it, the same owner too."""

    async def unlock(self, resource: str, owner: str) -> UnlockStatus:
        """Give it back."""
