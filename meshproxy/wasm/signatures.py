"""The types of what a module imports and exports, in the words that errors use.

Owns their names. Refuses to know who answers an import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wasmtime import FuncType

Signature = tuple[tuple[str, ...], tuple[str, ...]]
"""The names of the parameter and of the result types."""


@dataclass(frozen=True, slots=True)
class Import:
    """A function that a module wants: `env.proxy_log (i32, i32, i32) -> i32`."""

    module: str
    name: str
    parameters: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.module}.{self.name} {type_text(self.parameters, self.results)}"


def type_text(parameters: Sequence[str], results: Sequence[str]) -> str:
    """A function type as errors show it: `(i32, i32) -> i32`."""
    return f"({', '.join(parameters)}) -> {', '.join(results) or 'nothing'}"


def type_names(signature: FuncType) -> Signature:
    """A function type as the names of its parameter and result types."""
    return tuple(map(str, signature.params)), tuple(map(str, signature.results))
