"""Key/value pairs that the VMs of one vm_id share, with compare-and-swap.

Owns the values of the whole process. Refuses to know who reads them; lives as long as a VM of that
vm_id does. One worker is one process, so the data are shared by the VMs of one worker.
"""

from __future__ import annotations

from typing import Final

from meshproxy.proxy_wasm.abi import CAS_MISMATCH, INTERNAL_FAILURE, OK

MAX_BYTES: Final = 64 << 20
"""Keys and values of one vm_id together. Envoy has no limit, so a guest can end the process."""


class SharedData:
    """All shared data. The CAS counter is one for the process and begins at 1, as Envoy's."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._values: dict[str, dict[bytes, tuple[bytes, int]]] = {}
        self._sizes: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._next_cas = 1
        self._max_bytes = max_bytes

    def acquire(self, vm_id: str) -> None:
        """A VM of this vm_id lives."""
        self._users[vm_id] = self._users.get(vm_id, 0) + 1

    def release(self, vm_id: str) -> None:
        """It lives no more; the last one takes the data along."""
        self._users[vm_id] -= 1
        if not self._users[vm_id]:
            for table in (self._users, self._values, self._sizes):
                table.pop(vm_id, None)

    def get(self, vm_id: str, key: bytes) -> tuple[bytes, int] | None:
        """(value, CAS number), or None where there is no such key."""
        values = self._values.get(vm_id)
        return values.get(key) if values is not None else None

    def set(self, vm_id: str, key: bytes, value: bytes | None, cas: int) -> int:
        """Store `value`, or delete the key for None. Returns a status.

        `cas` 0 is unconditional; another one must be the key's present number, if it has one.
        """
        values = self._values.setdefault(vm_id, {})
        found = values.get(key)
        if cas and found is not None and found[1] != cas:
            return CAS_MISMATCH
        freed = len(key) + len(found[0]) if found is not None else 0
        if value is None:
            values.pop(key, None)
            self._sizes[vm_id] = self._sizes.get(vm_id, 0) - freed
            return OK
        size = self._sizes.get(vm_id, 0) - freed + len(key) + len(value)
        if size > self._max_bytes:
            return INTERNAL_FAILURE
        self._sizes[vm_id] = size
        values[key] = (value, self._next_cas)
        self._next_cas += 1
        return OK
