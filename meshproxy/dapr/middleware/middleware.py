"""The contract of an HTTP middleware, and its place in a pipeline. Knows no middleware."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from meshproxy.dapr.component import Component
from meshproxy.http.filter import FilterFactory, StreamFilter

if TYPE_CHECKING:
    from meshproxy.dapr.runtime import Runtime

MIDDLEWARE: Final = "middleware"


class HttpMiddleware(Component, Protocol):
    """A component that looks at requests."""

    def filter(self) -> StreamFilter:
        """The filter of one request."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One entry of a pipeline: the component, by its name and type."""

    name: str
    type: str
    version: str = ""

    @property
    def log_name(self) -> str:
        """How daprd names it in its log."""
        return f"{self.name} ({self.type}/{self.version or 'v1'})"


def place(handler: Handler, runtime: Callable[[], Runtime]) -> FilterFactory:
    """The factory of a pipeline's place: the component that is there now, or nothing.

    So a component that comes later, or comes anew, is in its place from then on.
    """

    def make() -> StreamFilter:
        loaded = runtime().loaded(MIDDLEWARE, handler.name)
        if loaded is None or loaded.spec.type != handler.type:
            return StreamFilter()
        return cast("HttpMiddleware", loaded.instance).filter()

    return make
