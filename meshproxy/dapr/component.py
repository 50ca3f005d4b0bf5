"""What a component is: its resource as values, its metadata, its contract. Knows no kind of them.

The lifecycle is that of daprd: construct (no side effect), secrets resolved, `init`, ready,
`close`; `runtime.py` walks it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from meshproxy.dapr.duration import DurationError, seconds_of
from meshproxy.dapr.quantity import quantity_of
from meshproxy.errors import Place
from meshproxy.network.tasks import TaskOwner

CATEGORIES: Final = (
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "lock",
    "middleware",
    "nameresolution",
    "pubsub",
    "secretstores",
    "state",
    "workflow",
)
"""The part of a component's type before its first dot."""
DEFAULT_INIT_TIMEOUT: Final = 5.0  # seconds
NO_PLACE: Final = Place("")
_TRUTHY: Final = frozenset({"1", "true", "t", "on", "yes", "y"})
_FALSY: Final = frozenset({"", "0", "false", "f", "off", "no", "n"})


class ComponentError(Exception):
    """A component cannot do what it was asked; the text is shown to the caller and in the log."""


class Permanent(ComponentError):
    """An error that another attempt would not change, and that says nothing of the component's
    health: the request was wrong.
    """


def is_truthy(text: str) -> bool:
    """Whether a text says yes in one of the spellings that Dapr takes."""
    return text.lower() in _TRUTHY


@dataclass(frozen=True, slots=True)
class SecretKeyRef:
    """`secretKeyRef`: the secret `name` of the component's secret store, and the key inside."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class MetadataItem:
    """One entry of `spec.metadata`: a value, or where its value comes from.

    Equal without regard to its place: a line added above it changes nothing.
    """

    name: str
    value: str = ""
    secret: SecretKeyRef | None = None
    env: str = ""
    place: Place = field(default=NO_PLACE, compare=False)


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """A Component resource. `init_timeout` is in seconds; no `scopes` means every app.

    Equal without regard to its place, as its metadata are.
    """

    name: str
    type: str
    version: str = "v1"
    namespace: str = ""
    metadata: tuple[MetadataItem, ...] = ()
    ignore_errors: bool = False
    init_timeout: float = DEFAULT_INIT_TIMEOUT
    secret_store: str = ""
    scopes: tuple[str, ...] = ()
    place: Place = field(default=NO_PLACE, compare=False)

    @property
    def category(self) -> str:
        """The kind of component: `state` of `state.in-memory`."""
        return self.type.partition(".")[0]

    @property
    def log_name(self) -> str:
        """How daprd names the component in its log."""
        return f"{self.name} ({self.type}/{self.version})"

    def in_scope(self, app_id: str, namespace: str) -> bool:
        """Whether the component is meant for this app.

        A namespace filters only where both the app and the resource have one.
        """
        if namespace and self.namespace and namespace != self.namespace:
            return False
        return not self.scopes or app_id in self.scopes


class Metadata(Mapping[str, str]):
    """The metadata of a component, every value resolved. Names are matched without case.

    The readers raise ComponentError naming the entry and what was expected.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = {name.lower(): (name, value) for name, value in entries.items()}

    def __getitem__(self, name: str) -> str:
        return self._entries[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def first(self, *names: str) -> str:
        """The value of the first name that has one, or an empty string."""
        return next((value for name in names if (value := self.get(name, ""))), "")

    def required(self, name: str) -> str:
        """A value that must be there and not be empty."""
        value = self.get(name, "")
        if not value:
            raise ComponentError(f"missing {name}")
        return value

    def integer(self, name: str, default: int, *, minimum: int | None = None) -> int:
        """A whole number."""
        text = self.get(name, "")
        if not text:
            return default
        try:
            number = int(text)
        except ValueError:
            raise ComponentError(f"{name} is '{text}'; expected a whole number") from None
        if minimum is not None and number < minimum:
            raise ComponentError(f"{name} is {number}; expected at least {minimum}")
        return number

    def size(self, name: str, default: int) -> int:
        """A number of bytes, or a quantity of Kubernetes such as `64Ki`."""
        text = self.get(name, "")
        if not text:
            return default
        found = quantity_of(text)
        if found is None:
            raise ComponentError(f"{name} is '{text}'; expected a size such as 4Mi, 64Ki or 1000")
        return found

    def boolean(self, name: str, default: bool = False) -> bool:
        """A truth value in any of the spellings that Dapr takes."""
        text = self.get(name)
        if text is None:
            return default
        if is_truthy(text):
            return True
        if text.lower() in _FALSY:
            return False
        raise ComponentError(f"{name} is '{text}'; expected true or false")

    def seconds(self, name: str, default: float) -> float:
        """A duration such as `500ms` or `1h`, or a bare number of seconds; in seconds."""
        text = self.get(name, "")
        if not text:
            return default
        try:
            return float(text) if text.isdecimal() else seconds_of(text)
        except DurationError as error:
            raise ComponentError(f"{name}: {error}") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """The app beside this sidecar. `namespace` is that of the environment, often empty."""

    app_id: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class ComponentContext:
    """What a component is constructed with.

    `owner` cancels the tasks of the component when it is closed; `clock` is seconds since 1970.
    """

    name: str
    identity: Identity = field(default_factory=lambda: Identity(""))
    owner: TaskOwner = field(default_factory=TaskOwner)
    clock: Callable[[], float] = time.time


@runtime_checkable
class Checkable(Protocol):
    """What a component does besides whose metadata can be judged without starting it."""

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata, and touch nothing outside. Raises ComponentError, as `init` does."""


class Component(Protocol):
    """What every component does. Its class is called with a ComponentContext."""

    async def init(self, metadata: Metadata) -> None:
        """Read the metadata and connect. Raises ComponentError; may be called again after that."""

    async def close(self) -> None:
        """Let go of everything; nothing is called afterwards. Also called after a failed `init`."""
