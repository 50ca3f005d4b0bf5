"""The runtime: numbers and switches that the configuration names by a key.

Owns the static layers and their order. Refuses to know what a key is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from meshproxy.config.document import At
from meshproxy.config.reading import plain

DENOMINATORS: Final = (100, 10_000, 1_000_000)  # FractionalPercent.DenominatorType


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

    def number(self, key: str, default: float) -> float:
        """The number of a key, `default` where there is none."""
        found = _number(self.values.get(key))
        return default if found is None else found

    def fraction(self, at: At | None) -> tuple[int, int] | None:
        """(numerator, denominator) of a RuntimeFractionalPercent, None where it is not set."""
        if at is None:
            return None
        percent = at.message.default_value
        default = (int(percent.numerator), DENOMINATORS[percent.denominator])
        value = self.values.get(at.message.runtime_key)
        if isinstance(value, dict):
            names = ("HUNDRED", "TEN_THOUSAND", "MILLION")
            name = value.get("denominator", "HUNDRED")
            if name in names:
                return int(_number(value.get("numerator")) or 0), DENOMINATORS[names.index(name)]
        number = _number(value)
        # A whole number is a percentage.
        return default if number is None or number < 0 else (int(number), 100)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):  # large numbers and fractions come as text from YAML
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) else None


def build(bootstrap: At) -> Runtime:
    """The runtime of a bootstrap configuration."""
    layered = bootstrap.one("layered_runtime")
    layers = layered.many("layers") if layered is not None else []
    return Runtime({layer.message.name: plain(layer.message.static_layer) for layer in layers})
