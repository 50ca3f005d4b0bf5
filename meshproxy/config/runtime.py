"""The runtime: numbers and switches that the configuration names by a key.

Owns the static layers and their order. Refuses to know what a key is for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.config.reading import plain
from meshproxy.errors import Code

# FractionalPercent.DenominatorType
DENOMINATORS: Final = (100, 10_000, 1_000_000)
_DENOMINATOR_NAMES: Final = ("HUNDRED", "TEN_THOUSAND", "MILLION")


class Runtime:
    """Values by their dotted keys; of two layers the later one wins."""

    __slots__ = ("layers", "values")

    def __init__(self, layers: Mapping[str, Mapping[str, Any]]) -> None:
        """`layers` are trees of values by the layers' names, in the order of the configuration."""
        self.layers = layers
        self.values: dict[str, Any] = {}
        for tree in layers.values():
            self._flatten("", tree)

    def _flatten(self, prefix: str, tree: Mapping[str, Any]) -> None:
        for key, value in tree.items():
            # A FractionalPercent is a value, not a level of keys (Envoy, Snapshot::walk).
            if isinstance(value, dict) and not {"numerator", "denominator"} & set(value):
                self._flatten(f"{prefix}{key}.", value)
            else:
                self.values[prefix + key] = value

    def texts(self) -> tuple[tuple[str, Mapping[str, str]], ...]:
        """(name, values as text) of each layer, the strongest last, as `/runtime` shows them."""
        return tuple(
            (name, {key: _text(value) for key, value in Runtime({"": tree}).values.items()})
            for name, tree in self.layers.items()
        )

    def number(self, key: str, default: float) -> float:
        """The number of a key, `default` where there is none."""
        found = _number(self.values.get(key))
        return default if found is None else found

    def fraction(self, at: At | None) -> tuple[int, int] | None:
        """(numerator, denominator) of a RuntimeFractionalPercent, None where it is not set."""
        if at is None:
            return None
        percent = at.message.default_value
        default = (int(percent.numerator), denominator(percent))
        return self.override(at.message.runtime_key, default)

    def override(self, key: str, default: tuple[int, int]) -> tuple[int, int]:
        """The fraction of a key: a FractionalPercent, or a whole number that is a percentage."""
        value = self.values.get(key)
        if isinstance(value, dict):
            name = value.get("denominator", _DENOMINATOR_NAMES[0])
            if name in _DENOMINATOR_NAMES:
                index = _DENOMINATOR_NAMES.index(name)
                return int(_number(value.get("numerator")) or 0), DENOMINATORS[index]
        number = _number(value)
        return default if number is None or number < 0 else (int(number), 100)


def denominator(percent: Any) -> int:
    """The denominator of a FractionalPercent message as a number."""
    index = percent.denominator
    return DENOMINATORS[index] if 0 <= index < len(DENOMINATORS) else DENOMINATORS[0]


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):  # large numbers and fractions come as text from YAML
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def build_runtime(bootstrap: At, problems: Problems) -> Runtime:
    """The runtime of a bootstrap configuration; a layer's name that comes twice is noted."""
    layered = bootstrap.one("layered_runtime")
    layers: dict[str, Any] = {}
    for layer in layered.many("layers") if layered is not None else ():
        name = layer.message.name
        if name in layers:
            layer.error(problems, Code.DUPLICATE_NAME, f"duplicate layer '{name}'", "name")
        layers[name] = plain(layer.message.static_layer)
    return Runtime(layers)
