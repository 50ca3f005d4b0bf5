"""VMs that are linked ahead, away from the loop, and wait for the failure of the one that serves.

Owns when the next one is made: only after a failure, and so that making them takes a bounded share
of a core. Refuses to run guest code: what a filter does at its start it does when it is needed,
not in a VM that may never be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.proxy_wasm.vm import Vm
from meshproxy.wasm.errors import ModuleError

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.config import PluginConfig
    from meshproxy.proxy_wasm.services import Services
    from meshproxy.wasm.engine import CompiledModule

LINK_SHARE: Final = 0.02
"""Of a core's time, what making the spares of one VM key may take; it is taken in small pieces,
since every step of it lets other threads have the interpreter."""

Made = tuple[Vm | ModuleError, float]


class _Spare:
    """The spare of one key. `vm` is there once it is linked."""

    __slots__ = ("due", "making", "vm")

    def __init__(self) -> None:
        self.vm: Vm | None = None
        self.making = False
        self.due = 0.0  # when the next one may be made, in the dispatcher's seconds


class Spares:
    """The spares of one worker, at most one for each VM key."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._spares: dict[str, _Spare] = {}

    def ready(self, key: str) -> bool:
        """Whether a VM of this key waits."""
        spare = self._spares.get(key)
        return spare is not None and spare.vm is not None

    def take(self, key: str) -> Vm | None:
        """The VM that waits, which is the caller's from now on."""
        spare = self._spares.get(key)
        if spare is None:
            return None
        vm, spare.vm = spare.vm, None
        return vm

    def make(self, key: str, plugin: PluginConfig, module: CompiledModule) -> None:
        """See to it that there will be one, as soon as the last one has been paid for."""
        spare = self._spares.setdefault(key, _Spare())
        if spare.making or spare.vm is not None:
            return
        spare.making = True
        services = self._services

        def work() -> Made:
            began = time.thread_time()
            try:
                made: Vm | ModuleError = Vm(services, module, plugin)
            except ModuleError as error:
                made = error
            return made, time.thread_time() - began

        def begin() -> None:
            if self._spares.get(key) is spare:
                services.offload(work, lambda made: self._made(key, spare, made))

        self._later(spare.due - services.dispatcher.now(), begin)

    def drop(self, key: str) -> None:
        """No VM of this key will be wanted any more."""
        spare = self._spares.pop(key, None)
        if spare is not None and spare.vm is not None:
            spare.vm.close()

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        if seconds > 0:
            self._services.dispatcher.call_later(seconds, work)
        else:
            work()

    def _made(self, key: str, spare: _Spare, made: Made) -> None:
        vm, cost = made
        spare.making = False
        spare.due = self._services.dispatcher.now() + cost / LINK_SHARE
        if isinstance(vm, ModuleError):
            return  # whoever needs a VM will meet the same error, and tell it
        if self._spares.get(key) is spare:
            spare.vm = vm
        else:
            vm.close()
