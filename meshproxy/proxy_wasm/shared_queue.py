"""Named queues between the VMs of a process.

Owns the queues and who is told about a new item. Refuses to enter a VM: it tells
the registrant, who has to wait until that is safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from meshproxy.proxy_wasm.abi import INTERNAL_FAILURE, NOT_FOUND, OK

MAX_BYTES: Final = 16 << 20
"""What one queue may hold; Envoy has no limit."""
MAX_QUEUES: Final = 1024

Notify = Callable[[int], None]
"""Told the token of a queue that got an item; must not enter the VM before the caller returned."""


class Queue:
    """One queue; `notify` is the last registrant's."""

    __slots__ = ("items", "notify", "size", "token")

    def __init__(self, token: int) -> None:
        self.token = token
        self.items: deque[bytes] = deque()
        self.size = 0
        self.notify: Notify | None = None


class SharedQueues:
    """All queues of the process: by (vm_id, name) to open them, by token to use them."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._by_name: dict[tuple[str, bytes], Queue] = {}
        self._by_token: dict[int, Queue] = {}
        self._max_bytes = max_bytes

    def register(self, vm_id: str, name: bytes, notify: Notify) -> int | None:
        """The token of this queue, made on first use; `notify` hears of its items from now on.

        None where there are too many queues.
        """
        queue = self._by_name.get((vm_id, name))
        if queue is None:
            if len(self._by_name) >= MAX_QUEUES:
                return None
            queue = Queue(len(self._by_token) + 1)
            self._by_name[vm_id, name] = self._by_token[queue.token] = queue
        queue.notify = notify
        return queue.token

    def resolve(self, vm_id: str, name: bytes) -> int | None:
        """The token of somebody's queue, None where nobody registered it."""
        queue = self._by_name.get((vm_id, name))
        return queue.token if queue is not None else None

    def enqueue(self, token: int, item: bytes) -> int:
        """Append one item and tell the registrant. Returns a status."""
        queue = self._by_token.get(token)
        if queue is None:
            return NOT_FOUND
        if queue.size + len(item) > self._max_bytes:
            return INTERNAL_FAILURE
        queue.items.append(item)
        queue.size += len(item)
        if queue.notify is not None:
            queue.notify(token)
        return OK

    def dequeue(self, token: int) -> bytes | None:
        """The oldest item, None where the queue is empty. KeyError for an unknown token."""
        queue = self._by_token[token]
        if not queue.items:
            return None
        item = queue.items.popleft()
        queue.size -= len(item)
        return item

    def unregister(self, notify: Notify) -> None:
        """Tell this registrant nothing more; the queues stay."""
        for queue in self._by_token.values():
            if queue.notify == notify:
                queue.notify = None
