"""Which class answers to which component type. Knows the names only; a class is imported when used.

`components.py` is the list. A component whose client library is an extra costs nothing, and needs
nothing, until a resource names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, cast

from meshproxy.dapr.component import Component, ComponentContext, ComponentError

Constructor = Callable[[ComponentContext], Component]


def normal_version(version: str) -> str:
    """The version that is looked up: none, `v0` and `v1` are the same."""
    return "v1" if version in {"", "v0", "v1"} else version


class Registry:
    """Types with their versions, such as `state.in-memory/v1`, and where their classes are."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def register(self, type_name: str, place: str, *, version: str = "v1") -> None:
        """Add one; `place` is `module:class`, relative to `meshproxy.dapr`. Twice is an error."""
        name = f"{type_name}/{normal_version(version)}"
        if name in self._places:
            raise ValueError(f"two components of type {name}")
        self._places[name] = place

    def alias(self, name: str, type_name: str) -> None:
        """Let a type have a second name, which no list shows. A name that is taken is an error."""
        taken = {each.partition("/")[0] for each in self._places}
        if name in self._aliases or name in taken or type_name not in taken:
            raise ValueError(f"{name} cannot be a second name of {type_name}")
        self._aliases[name] = type_name

    def knows(self, type_name: str, version: str) -> bool:
        """Whether there is such a component."""
        return self._full_name(type_name, version) in self._places

    def constructor(self, type_name: str, version: str) -> Constructor:
        """The class of a type. Raises ComponentError where there is none, or a library is missing.

        The class itself is what is returned; it is called with a ComponentContext.
        """
        name = f"{type_name}/{normal_version(version)}"
        place = self._places.get(self._full_name(type_name, version))
        if place is None:
            raise ComponentError(f"couldn't find component {name}")
        module, _, class_name = place.partition(":")
        try:
            found: Any = importlib.import_module(f"meshproxy.dapr.{module}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("meshproxy"):
                raise
            text = f"{name} needs the Python package '{error.name.partition('.')[0]}'"
            raise ComponentError(f"{text}: pip install 'meshproxy[dapr]'") from error
        return cast("Constructor", getattr(found, class_name))

    def _full_name(self, type_name: str, version: str) -> str:
        return f"{self._aliases.get(type_name, type_name)}/{normal_version(version)}"

    def of(self, category: str) -> list[str]:
        """The names of one kind, `state` for example, each with its version."""
        return [name for name in self if name.startswith(f"{category}.")]

    def aliases(self, category: str) -> list[str]:
        """The second names of one kind."""
        return sorted(name for name in self._aliases if name.startswith(f"{category}."))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._places))
