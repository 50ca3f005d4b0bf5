"""The components of one app: which there are, in what state each is, and who may use it.

Owns the lifecycle and the order of starting: secret stores before those whose secrets they hold.
Refuses to know files (the resources come as values) and what a component does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from meshproxy.dapr.common_metadata import check_metadata
from meshproxy.dapr.component import (
    Component,
    ComponentContext,
    ComponentError,
    ComponentSpec,
    Identity,
    Metadata,
    MetadataItem,
)
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.environment import env_value
from meshproxy.dapr.registry import Registry
from meshproxy.dapr.templates import fill
from meshproxy.errors import StartupError
from meshproxy.network.tasks import TaskOwner, spawn

if TYPE_CHECKING:
    from meshproxy.dapr.secretstores.secret_store import SecretStore

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

RETRY_FIRST: Final = 1.0  # seconds until a component that failed is started again
RETRY_LONGEST: Final = 30.0


class State(Enum):
    """Where a component is in its life."""

    WAITING = "waiting"  # for its turn, or for the secret store it names
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"  # and, since it says ignoreErrors, tried again
    CLOSED = "closed"


NEXT: Final[dict[State, frozenset[State]]] = {
    State.WAITING: frozenset({State.STARTING, State.CLOSED}),
    State.STARTING: frozenset({State.READY, State.FAILED, State.CLOSED}),
    State.READY: frozenset({State.CLOSED}),
    State.FAILED: frozenset({State.STARTING, State.CLOSED}),
    State.CLOSED: frozenset(),
}


class LoadedComponent:
    """One resource with its object. `instance` is there from before `STARTING` on."""

    def __init__(self, spec: ComponentSpec) -> None:
        self.spec: Final = spec
        self.owner: Final = TaskOwner()
        self.retries: Final = TaskOwner()
        self.instance: Component | None = None
        self.metadata = Metadata({})
        self.error = ""
        self._state = State.WAITING

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    def enter(self, state: State) -> None:
        """Move on; an illegal move is a bug."""
        assert state in NEXT[self._state], f"{self.spec.name}: {self._state} to {state}"
        self._state = state


class Observer(Protocol):
    """Whoever does something with a component besides answering calls, such as subscribing."""

    async def component_ready(self, loaded: LoadedComponent) -> None:
        """It can be used from now on."""

    async def component_closing(self, loaded: LoadedComponent) -> None:
        """It will be closed when this returns."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the runtime may be told from outside; tests give their own."""

    registry: Registry = COMPONENTS
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Any] = asyncio.sleep


class Runtime:
    """The components of one app."""

    def __init__(
        self, identity: Identity, specs: Iterable[ComponentSpec], settings: Settings | None = None
    ) -> None:
        self.identity: Final = identity
        self._settings: Final = settings or Settings()
        self.clock: Final = self._settings.clock
        self.observers: Final[list[Observer]] = []
        self.on_failure: Callable[[LoadedComponent], None] = lambda loaded: None
        self.components: dict[str, LoadedComponent] = {
            name: LoadedComponent(spec) for name, spec in self._mine(specs).items()
        }

    def _mine(self, specs: Iterable[ComponentSpec]) -> dict[str, ComponentSpec]:
        """Those in scope, by name. Raises StartupError for two of one name."""
        mine: dict[str, ComponentSpec] = {}
        for spec in specs:
            if not spec.in_scope(self.identity.app_id, self.identity.namespace):
                continue
            first = mine.setdefault(spec.name, spec)
            if first is not spec:
                raise StartupError(
                    f"failed to load components: duplicate definition of Component name "
                    f"{spec.log_name} with existing {first.log_name}"
                )
        return mine

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start every component. Raises StartupError for the first that fails and may not."""
        waiting = [each for each in self.components.values() if each.state is State.WAITING]
        for each in _by_dependency([each for each in waiting if _is_secret_store(each.spec)]):
            await self._start(each)
        others = [each for each in waiting if not _is_secret_store(each.spec)]
        for each in others:
            # Now: to load the library of one, on a slow machine, must not use up another's time.
            with suppress(ComponentError):  # which is said when it starts
                each.instance = self._construct(each)
        # Side by side: one that waits for its server does not keep the others waiting.
        outcomes = await asyncio.gather(*map(self._start, others), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def change(self, specs: Iterable[ComponentSpec]) -> None:
        """Make these the components: what is the same stays, the rest is closed, started, or both.

        As in daprd the old one of a component is closed before its successor starts, and whoever
        has secrets from a store that changes starts again too. Raises StartupError as `start` does,
        and for two of one name before anything is done.
        """
        wanted = self._mine(specs)
        other = self._other_than(wanted)
        for name in [name for name in reversed(self.components) if name in other]:
            await self._close(self.components[name])
        self.components = {
            name: LoadedComponent(spec) if name in other else self.components[name]
            for name, spec in wanted.items()
        }
        await self.start()

    def _other_than(self, wanted: dict[str, ComponentSpec]) -> set[str]:
        """The names that are new, gone or changed, and of those whose secrets are thereby."""
        current = {name: each.spec for name, each in self.components.items()}
        specs = {**current, **wanted}
        other = {name for name in specs if current.get(name) != wanted.get(name)}
        while True:
            more = {name for name, spec in specs.items() if spec.secret_store in other} - other
            if not more:
                return other
            other |= more

    async def close(self) -> None:
        """Close every component, the last started first."""
        for each in reversed(self.components.values()):
            await self._close(each)

    async def _close(self, loaded: LoadedComponent) -> None:
        if loaded.state is State.CLOSED:
            return
        await loaded.retries.close()
        if loaded.state is State.READY:
            for observer in self.observers:
                await observer.component_closing(loaded)
        loaded.enter(State.CLOSED)
        if loaded.instance is not None:
            try:
                await loaded.instance.close()
            except ComponentError as error:
                logger.warning("%s did not close well: %s", loaded.spec.log_name, error)
        await loaded.owner.close()

    async def _start(self, loaded: LoadedComponent) -> None:
        spec = loaded.spec
        try:
            await self._try(loaded)
        except ComponentError as error:
            reason = f"process component {spec.name} error: {error}"
            if not spec.ignore_errors:
                raise StartupError(reason) from error
            logger.error("Ignoring error processing component: %s", reason)
            spawn(loaded.retries, self._try_again(loaded), f"component {spec.name}")

    async def _try_again(self, loaded: LoadedComponent) -> None:
        wait = RETRY_FIRST
        while loaded.state is State.FAILED:
            await self._settings.sleep(wait)
            wait = min(wait * 2, RETRY_LONGEST)
            try:
                await self._try(loaded)
            except ComponentError:
                continue  # said already

    async def _try(self, loaded: LoadedComponent) -> None:
        """One attempt at WAITING or FAILED; ends at READY, or at FAILED with ComponentError."""
        spec = loaded.spec
        loaded.enter(State.STARTING)
        try:
            if loaded.instance is None:
                loaded.instance = self._construct(loaded)
            loaded.metadata = metadata = await self._resolve(spec)
            check_metadata(spec, metadata, self.identity)
            async with asyncio.timeout(spec.init_timeout):
                await loaded.instance.init(metadata)
        except (ComponentError, TimeoutError) as error:
            reason = str(error)
            if isinstance(error, TimeoutError):
                reason = f"init timeout for component {spec.name} exceeded after {_go(spec)}"
            loaded.error = (
                f"[INIT_COMPONENT_FAILURE]: initialization error occurred for "
                f"{spec.log_name}: {reason}"
            )
            loaded.enter(State.FAILED)
            self.on_failure(loaded)
            logger.error("Failed to init component %s: %s", spec.log_name, loaded.error)
            raise ComponentError(loaded.error) from error
        loaded.error = ""
        loaded.enter(State.READY)
        logger.info("Component loaded: %s", spec.log_name)
        for observer in self.observers:
            await observer.component_ready(loaded)

    def _construct(self, loaded: LoadedComponent) -> Component:
        spec = loaded.spec
        constructor = self._settings.registry.constructor(spec.type, spec.version)
        context = ComponentContext(spec.name, self.identity, loaded.owner, self._settings.clock)
        return constructor(context)

    # -- metadata ----------------------------------------------------------------------------

    async def _resolve(self, spec: ComponentSpec) -> Metadata:
        """The metadata with every secret and variable looked up, and every template filled."""
        values: dict[str, str] = {}
        for item in spec.metadata:
            values[item.name] = fill(await self.value_of(item, spec.secret_store), self.identity)
        return Metadata(values)

    async def value_of(self, item: MetadataItem, secret_store: str) -> str:
        """A value, wherever it comes from. Raises ComponentError."""
        if item.env:
            return env_value(item.env)
        if item.secret is None:
            return item.value
        store = self.find("secretstores", secret_store)
        if store is None:
            raise ComponentError(f"the secret store '{secret_store}' of {item.place} is not loaded")
        secret = await cast("SecretStore", store).get_secret(item.secret.name, {})
        key = item.secret.key or item.secret.name
        if key not in secret:
            raise ComponentError(f"the secret '{item.secret.name}' has no key '{key}'")
        return secret[key]

    # -- for the API -------------------------------------------------------------------------

    def find(self, category: str, name: str) -> Component | None:
        """The component of this kind and name if it is ready, else None."""
        loaded = self.loaded(category, name)
        return None if loaded is None else loaded.instance

    def loaded(self, category: str, name: str) -> LoadedComponent | None:
        """The same with its resource and metadata."""
        loaded = self.components.get(name)
        if loaded is None or loaded.state is not State.READY or loaded.spec.category != category:
            return None
        return loaded

    def ready(self, category: str) -> list[str]:
        """The names of the components of a kind that are ready, in the order of their files."""
        return [
            name
            for name, each in self.components.items()
            if each.spec.category == category and each.state is State.READY
        ]


def _is_secret_store(spec: ComponentSpec) -> bool:
    return spec.category == "secretstores"


def _by_dependency(stores: Sequence[LoadedComponent]) -> list[LoadedComponent]:
    """Stores whose own metadata is in another store come after it; a circle stays as it is."""
    ordered: list[LoadedComponent] = []
    waiting = list(stores)
    names = {each.spec.name for each in stores}
    while waiting:
        done = {each.spec.name for each in ordered}
        free = [
            each
            for each in waiting
            if each.spec.secret_store in done or each.spec.secret_store not in names
        ]
        for each in free or waiting:
            ordered.append(each)
            waiting = [left for left in waiting if left is not each]
    return ordered


def _go(spec: ComponentSpec) -> str:
    return f"{spec.init_timeout:g}s"
