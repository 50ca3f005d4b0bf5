"""One guest: loaded, started, and called for requests and responses within its limits.

Owns its life. Between `handle_request` and `handle_response` of one request it may handle others:
the ABI hands a number from the one to the other, and nothing else is kept. A trap ends the
instance; the next request gets a fresh one, but not more than ten a second.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http_wasm.adapter import HIGH, LongResults, in_two_halves
from meshproxy.http_wasm.exchange import BUFFER_REQUEST, BUFFER_RESPONSE, Exchange
from meshproxy.http_wasm.hostcalls import MODULE, SIGNATURES, Hostcalls
from meshproxy.http_wasm.wasi import MODULE as WASI
from meshproxy.http_wasm.wasi import ProcExit, Wasi
from meshproxy.wasm.binary import START_EXPORT
from meshproxy.wasm.engine import CompiledModule, Engine
from meshproxy.wasm.errors import GuestTrap, ModuleError
from meshproxy.wasm.instance import Instance
from meshproxy.wasm.limits import Limits, ticks
from meshproxy.wasm.signatures import Import, type_text

HANDLE_REQUEST: Final = "handle_request"
HANDLE_RESPONSE: Final = "handle_response"
RESTART_INTERVAL: Final = 0.1
"""Seconds between two instances after traps."""
_EXPORTS: Final = {HANDLE_REQUEST: ((), ("i64",)), HANDLE_RESPONSE: (("i32", "i32"), ())}
_BODY_CALLS: Final = frozenset({"read_body", "write_body"})


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """`config` is what `get_config` gives; `strict`: clocks and randomness tell nothing."""

    config: bytes = b""
    strict: bool = False
    limits: Limits = field(default_factory=Limits)


class GuestFailed(Exception):  # a verdict, not a bug
    """The guest has trapped, or may not run again yet; says why."""


class _Running:
    """A started instance with its calls."""

    def __init__(
        self, engine: Engine, module: CompiledModule, config: GuestConfig, logger: logging.Logger
    ) -> None:
        self._high = 0
        self.hostcalls = hostcalls = Hostcalls(config.config, logger)
        self._wasi = Wasi(hostcalls.memory, logger, strict=config.strict)
        long_results = LongResults(engine, module.function_imports)
        self.instance = Instance(engine, module, self._resolve, config.limits, long_results)
        hostcalls.memory.attach(self.instance)
        try:
            for name in (START_EXPORT.decode(), "_initialize", "_start"):
                self._start(name)
            self.handle_request, self.context = in_two_halves(engine, self.instance, HANDLE_REQUEST)
            self.handle_response = self.instance.function(HANDLE_RESPONSE)
        except BaseException:
            self.close()
            raise
        self.features = hostcalls.exchange.features

    def close(self) -> None:
        """Free the instance."""
        self.hostcalls.memory.close()
        self.instance.close()

    def _start(self, name: str) -> None:
        found = self.instance.function_type(name)
        if found is None:
            return
        if found != ((), ()):
            raise ModuleError(self.instance.module.name, f"exports {name} {type_text(*found)}")
        try:
            self.instance.function(name)()
        except GuestTrap as trap:
            if not (isinstance(trap.__cause__, ProcExit) and trap.__cause__.code == 0):
                raise ModuleError(self.instance.module.name, f"{name} failed: {trap}") from trap

    def _resolve(self, item: Import) -> Callable[..., int]:
        if item == HIGH:
            return lambda: self._high
        if item.module == WASI:
            function: Any = self._wasi.resolve(item)
            return function  # type: ignore[no-any-return]
        signature = SIGNATURES.get(item.name) if item.module == MODULE else None
        if signature is None:
            raise LookupError(f"imports {item}, which no handler has")
        parameters, result = signature
        wanted = (tuple(parameters.split()), tuple(result.split()))
        if item.parameters != wanted[0] or item.results not in (wanted[1], ("i32",)):
            raise LookupError(f"imports {item}, but it is {type_text(*wanted)}")
        call: Callable[..., int] = getattr(self.hostcalls, item.name)
        if result != "i64":
            return call

        def lower(*given: int) -> int:
            value = call(*given)
            self._high = value >> 32
            return value & 0xFFFFFFFF

        return lower


class Guest:
    """A module that handles requests. Raises ModuleError where it cannot be one, or not start."""

    def __init__(
        self,
        engine: Engine,
        module: CompiledModule,
        config: GuestConfig,
        logger: logging.Logger,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, signature in _EXPORTS.items():
            found = module.function_types.get(name)
            if found != signature:
                shown = "nothing" if found is None else type_text(*found)
                text = f"should export {name} {type_text(*signature)}, and exports {shown}"
                raise ModuleError(module.name, text)
        self._engine = engine
        self._module = module
        self._config = config
        self._logger = logger
        self._now = now
        self._deadline = ticks(config.limits.callback_timeout)
        self._not_before = 0.0
        self._running: _Running | None = self._start()
        names = {item.name for item in module.function_imports if item.module == MODULE}
        self.touches_bodies: Final = not names.isdisjoint(_BODY_CALLS)
        """Whether it could read or write a body at all."""

    def _start(self) -> _Running:
        return _Running(self._engine, self._module, self._config, self._logger)

    def close(self) -> None:
        """Free what there is."""
        running, self._running = self._running, None
        if running is not None:
            running.close()
        self._not_before = float("inf")

    def exchange(self, request: HeaderMap, protocol: str, source: str) -> Exchange:
        """A request to be handled, with the features that the guest has enabled at its start."""
        features = self._running.features if self._running is not None else 0
        return Exchange(request, protocol, source, features)

    @property
    def wants_request_body(self) -> bool:
        """Whether the request has to be complete before it is handled."""
        features = self._running.features if self._running is not None else 0
        return self.touches_bodies or bool(features & BUFFER_REQUEST)

    def handle_request(self, exchange: Exchange) -> tuple[bool, int]:
        """Whether the next handler is to be called, and a number for `handle_response`.

        Raises GuestFailed.
        """
        running = self._ready()
        low = self._call(running, exchange, running.handle_request)
        return bool(low & 1), running.context()

    def handle_response(self, exchange: Exchange, context: int, *, is_error: bool) -> None:
        """The next handler has answered. Raises GuestFailed."""
        running = self._ready()
        exchange.after_next = True
        self._call(running, exchange, running.handle_response, context, int(is_error))

    def wants_response(self, exchange: Exchange) -> bool:
        """Whether the response has to be complete before it is handled."""
        return bool(exchange.features & BUFFER_RESPONSE)

    def _ready(self) -> _Running:
        running = self._running
        if running is not None:
            return running
        if self._now() < self._not_before:
            raise GuestFailed("the guest has just trapped")
        self._not_before = self._now() + RESTART_INTERVAL
        try:
            running = self._running = self._start()
        except ModuleError as error:
            raise GuestFailed(str(error)) from error
        return running

    def _call(
        self, running: _Running, exchange: Exchange, call: Callable[..., int], *given: int
    ) -> int:
        running.hostcalls.exchange = exchange
        running.instance.gate.set_deadline(self._deadline)
        try:
            return call(*given)
        except GuestTrap as trap:
            self._logger.error("%s has trapped: %s", self._module.name, trap)
            self._running = None
            self._not_before = self._now() + RESTART_INTERVAL
            running.close()
            raise GuestFailed(trap.reason) from trap
