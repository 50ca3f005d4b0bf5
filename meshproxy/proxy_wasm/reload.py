"""New code for plugins that serve: on request, and when a filter's file has changed.

Owns the order: load and compile away from the loop, then plugin by plugin a canary, the swap, and
the retirement of the old VM (`plugin.py`). Refuses to know threads: they are injected. Whatever
fails on the way leaves the old VM serving.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from meshproxy.wasm.code_source import CodeSource, RemoteCode
from meshproxy.wasm.engine import CompiledModule
from meshproxy.wasm.errors import FetchError, ModuleError

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.plugin import Plugin
    from meshproxy.proxy_wasm.services import Services
    from meshproxy.proxy_wasm.vm_pool import VmPool

LOGGER: Final = logging.getLogger("meshproxy.wasm")
POLL: Final = 1.0
"""Seconds between two looks at the files. A file must look the same twice before it is loaded: who
copies a module does not do it at once."""


FETCH_AGAIN: Final = 10.0
"""Seconds after which code that could not be fetched at the start is tried again; as long as Envoy
remembers a failure."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A module that is ready for VMs. `signature`: how its source looked just before."""

    module: CompiledModule
    code: bytes
    signature: object


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one plugin's reload: the digest that serves now; `error` where it is the
    old one."""

    plugin: str
    digest: str
    error: str = ""


Done = Callable[[list[Outcome]], None]


def load(services: Services, source: CodeSource, *, wait: bool) -> Loaded:
    """Load and compile. Raises ModuleError; takes as long as the compiler does.

    `wait`: fetch what is remote, which takes as long as others do. Otherwise FetchError is raised
    for what has not been fetched yet.
    """
    signature = source.signature()
    fetcher = services.fetcher
    if isinstance(source, RemoteCode) and fetcher is not None:
        code = fetcher.fetch(source) if wait else fetcher.cached(source)
        if code is None:
            raise FetchError(source.name, "is not here yet")
    else:
        code = source.load()
    return Loaded(services.engine.compile(code, source.name), code, signature)


class Reloader:
    """Reloads the plugins of one worker, one request after the other."""

    def __init__(self, pool: VmPool) -> None:
        self._pool = pool
        self._requests: deque[tuple[Sequence[Plugin], Done]] = deque()
        self._settling: dict[CodeSource, object] = {}
        self._tried: dict[Plugin, object] = {}

    # -- on request ----------------------------------------------------------------------------

    def reload(self, names: Collection[str], done: Done) -> None:
        """Give fresh VMs to the plugins of these names, or to all where none is given.

        `done` is called once, after the last of them.
        """
        chosen = [each for each in self._pool.plugins if not names or each.config.name in names]
        self._request(chosen, done)

    def _request(self, plugins: Sequence[Plugin], done: Done) -> None:
        self._requests.append((plugins, done))
        if len(self._requests) == 1:
            self._next()

    def _next(self) -> None:
        plugins, _ = self._requests[0]
        sources = list({each.config.vm.code: None for each in plugins})
        services = self._pool.services

        def work() -> dict[CodeSource, Loaded | ModuleError]:
            found: dict[CodeSource, Loaded | ModuleError] = {}
            for source in sources:
                try:
                    found[source] = load(services, source, wait=True)
                except ModuleError as error:
                    found[source] = error
            return found

        self._pool.services.offload(work, self._swap)

    def _swap(self, loaded: dict[CodeSource, Loaded | ModuleError]) -> None:
        plugins, done = self._requests.popleft()
        batch = self._pool.new_batch()
        outcomes = [
            self._swap_one(each, loaded[each.config.vm.code], batch)
            for each in plugins
            if each in self._pool.plugins  # or it was closed in the meantime
        ]
        self._pool.forget_unused_modules()
        done(outcomes)
        if self._requests:
            self._next()

    def _swap_one(self, plugin: Plugin, loaded: Loaded | ModuleError, batch: int) -> Outcome:
        name, prefix = plugin.config.name, plugin.config.log_prefix
        try:
            if isinstance(loaded, ModuleError):
                raise loaded
            plugin.replace(loaded, batch)
        except ModuleError as error:
            plugin.stats.module_reload_failure.value += 1
            what = "failed to load" if plugin.pending else "not reloaded, the old code serves on"
            LOGGER.error("wasm log%s: %s: %s", prefix, what, error)
            plugin.give_up(error)
            return Outcome(name, plugin.digest, str(error))
        plugin.stats.module_reload_success.value += 1
        LOGGER.info("wasm log%s: reloaded %s", prefix, plugin.digest)
        return Outcome(name, plugin.digest)

    # -- what was not there at the start --------------------------------------------------------

    def fetch_pending(self, done: Callable[[], None]) -> None:
        """Try once to start every plugin whose code has to be fetched; the rest goes on trying.

        `done` is called once, when all have started or failed.
        """
        pending = [each for each in self._pool.plugins if each.pending]
        if not pending:
            done()
            return

        def tried(outcomes: list[Outcome]) -> None:
            if any(each.pending for each in self._pool.plugins):
                self._pool.services.dispatcher.call_later(
                    FETCH_AGAIN, lambda: self.fetch_pending(_nothing)
                )
            done()

        self._request(pending, tried)

    # -- on change -----------------------------------------------------------------------------

    def watch(self) -> None:
        """Look at the files of all plugins that are there, from now on and again and again."""
        self._pool.services.dispatcher.call_later(POLL, self._poll)

    def _poll(self) -> None:
        watched = [
            each
            for each in self._pool.plugins
            if each.config.vm.reload_on_change and each.signature is not None
        ]
        if not watched:
            self.watch()
            return
        sources = list({each.config.vm.code: None for each in watched})

        def work() -> dict[CodeSource, object]:
            return {source: source.signature() for source in sources}

        self._pool.services.offload(work, lambda found: self._compare(watched, found))

    def _compare(self, watched: Sequence[Plugin], found: dict[CodeSource, object]) -> None:
        if self._requests:  # which may be loading these very files; the next look will tell
            self.watch()
            return
        changed = [each for each in watched if self._has_changed(each, found)]
        settled = [
            each
            for each in changed
            if self._settling.get(each.config.vm.code) == found[each.config.vm.code]
        ]
        self._settling = {each.config.vm.code: found[each.config.vm.code] for each in changed}
        self._tried = {each: self._tried[each] for each in watched if each in self._tried}
        for each in settled:
            self._tried[each] = found[each.config.vm.code]
        if settled:
            self._request(settled, _nobody)
        self.watch()

    def _has_changed(self, plugin: Plugin, found: dict[CodeSource, object]) -> bool:
        """Whether a file is not what was loaded; one that failed counts as loaded."""
        now: Any = found[plugin.config.vm.code]
        return now is not None and now not in (plugin.signature, self._tried.get(plugin))


def _nothing() -> None:
    """Nobody waits."""


def _nobody(outcomes: list[Outcome]) -> None:
    """The log says it all."""
